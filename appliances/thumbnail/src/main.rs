//! The thumbnailer. Its library says what it is, `edgecloud_appliance::settings` and
//! `thumbnail::settings` what it is told.

fn main() -> std::process::ExitCode {
    edgecloud_appliance::run("thumbnail", thumbnail::make)
}
