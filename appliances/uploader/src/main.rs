//! The uploader. Its library says what it is, `edgecloud_appliance::settings` and `uploader::settings` what
//! it is told.

fn main() -> std::process::ExitCode {
    edgecloud_appliance::run("uploader", uploader::make)
}
