//! The commands and their help.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use manifest::{Digest, Name, PublicKey};

/// What every command's end means; `failure.rs` gives the numbers.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something else went wrong, for instance a file that cannot be read
  2  the command line or a document is wrong: the message says where and what would be right
  3  the authority or the daemon refused
  4  the authority made an offer: accept it, or change the manifest
  5  the authority or the daemon cannot be reached";

/// Tells operators' networks what applications at the edge need, and runs these there.
///
/// A publisher makes a key, signs an image and submits a manifest to an operator's authority, which
/// answers with a token or an offer. An operator launches the image with its token on a host.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Print one JSON document instead of text, errors included
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key: the private half goes into a new file of mode 0600, the public half is printed
    Keygen {
        /// The file to make; one that is there is never overwritten
        file: PathBuf,
    },
    /// Descriptors of images: whose image it is, and what its domain gets
    #[command(subcommand)]
    Image(Image),
    /// Manifests: what an application wants of a network
    #[command(subcommand)]
    Manifest(Manifest),
    /// Start a domain with its token
    Launch(Box<Launch>),
    /// List the domains of this host
    Ps(Daemon),
    /// Print the end of a domain's console
    Logs {
        /// The domain, as `edgecloud ps` names it
        domain: String,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Let a domain end its requests, and end it
    Stop {
        /// The domain, as `edgecloud ps` names it
        domain: String,
        /// How long its connections may take to end
        #[arg(long, default_value_t = 5, value_name = "N")]
        drain_seconds: u64,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Cut an application off: its connections, its flows, its domains
    Revoke {
        /// The application's number, as `edgecloud ps` shows it
        #[arg(conflicts_with = "list", value_parser = application)]
        application: Option<u32>,
        /// Instead: the authority's signed list of what is revoked
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Show what the switch holds, and which rule put it there
    Flows(Daemon),
    /// Ask what would become of a packet, in the words of the manifests
    Trace(Trace),
    /// Show the bytes and packets that each account pays for
    Accounts(Daemon),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Sign a descriptor for an image, into NAME.descriptor
    Sign(Box<Sign>),
    /// Check a descriptor, and its image if one is given, and show what it says
    Inspect {
        /// The signed descriptor
        descriptor: PathBuf,
        /// The ELF that it must be of
        #[arg(long, value_name = "FILE")]
        elf: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Read a manifest, and say what is wrong and in which line, or what it means
    Check {
        /// The manifest, TOML
        manifest: PathBuf,
    },
    /// Sign a manifest and submit it; a token goes into NAME.token, an offer into NAME.offer
    Submit(Box<Submit>),
    /// Accept an offer: its token goes into NAME.token
    Accept(Box<Accept>),
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The ELF that `cargo xtask image` made
    pub(crate) elf: PathBuf,
    /// The publisher's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// What you call it
    #[arg(long)]
    pub(crate) name: manifest::ApplicationName,
    /// The domain's memory
    #[arg(long, value_name = "N")]
    pub(crate) memory_mib: u32,
    /// The domain's devices: network, disk
    #[arg(
        long,
        value_name = "DEVICE",
        value_delimiter = ',',
        default_value = "network"
    )]
    pub(crate) device: Vec<manifest::Device>,
    /// Your word for this build
    #[arg(long, default_value = "1", value_name = "WORD")]
    pub(crate) image_version: String,
    /// The file to write; the ELF's name with `.descriptor`, if it is not given
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The manifest, TOML
    pub(crate) manifest: PathBuf,
    /// The publisher's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// A host at which it shall hold; may be given more than once
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) host: Vec<Name>,
    /// The image that shall use the token: the ELF, or its digest in hexadecimal
    #[arg(long, value_name = "ELF|DIGEST", value_parser = image)]
    pub(crate) image: ImageArgument,
    /// The public key that the domain will prove to have, as `edgecloud keygen` prints it
    #[arg(long, value_name = "KEY")]
    pub(crate) holder: PublicKey,
    #[command(flatten)]
    pub(crate) authority: Authority,
}

#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The offer, as `edgecloud manifest submit` wrote it
    pub(crate) offer: PathBuf,
    /// The publisher's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) authority: Authority,
}

/// Where the authority is, and whom to believe.
#[derive(Debug, Args)]
pub(crate) struct Authority {
    /// The operator's authority
    #[arg(long, value_name = "URL", env = "EDGECLOUD_AUTHORITY")]
    pub(crate) authority: String,
    /// The authority's public key: what is not signed by it is refused
    #[arg(long, value_name = "KEY", env = "EDGECLOUD_AUTHORITY_KEY")]
    pub(crate) authority_key: PublicKey,
    /// Certificates to believe for HTTPS, PEM; without it those of this system
    #[arg(long, value_name = "FILE", env = "EDGECLOUD_CA")]
    pub(crate) ca: Option<PathBuf>,
}

/// Where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// The socket of this host's daemon
    #[arg(
        long,
        value_name = "PATH",
        env = "EDGECLOUD_SOCKET",
        default_value = "/run/edgecloud/edgecloudd.sock"
    )]
    pub(crate) socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Launch {
    /// The image: an absolute path on the host, or a file's name in its directory of images
    pub(crate) image: String,
    /// The token
    #[arg(long, value_name = "FILE")]
    pub(crate) token: PathBuf,
    /// The image's signed descriptor
    #[arg(long, value_name = "FILE")]
    pub(crate) descriptor: PathBuf,
    /// The private key that the token names
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The domain's name; the application's and a number, if it is not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The appliance's settings, TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A variable of its environment; its value is no secret here, where others see command lines
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// A variable whose value is in a file
    #[arg(long, value_name = "NAME=FILE", value_parser = variable)]
    pub(crate) env_file: Vec<(String, String)>,
    /// How it is asked whether it lives: `http:PORT/PATH` or `tcp:PORT`; the management port, if it
    /// is not given
    #[arg(long)]
    pub(crate) health: Option<String>,
    /// A file or block device on the host, as its /dev/xvda
    #[arg(long, value_name = "PATH")]
    pub(crate) disk: Option<String>,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Where the packet comes from: `access`, `backhaul`, `host`, or a domain's name
    #[arg(long)]
    pub(crate) from: String,
    /// Its source address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source: IpAddr,
    /// Its target address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) target: IpAddr,
    /// Its protocol
    #[arg(long, value_enum, default_value = "tcp")]
    pub(crate) protocol: Transport,
    /// Its source port
    #[arg(long, default_value_t = 40_000, value_name = "PORT")]
    pub(crate) source_port: u16,
    /// Its target port
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub(crate) target_port: u16,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Icmp,
}

/// An image by its file, or by its digest.
#[derive(Clone, Debug)]
pub(crate) enum ImageArgument {
    File(PathBuf),
    Digest(Digest),
}

fn image(text: &str) -> Result<ImageArgument, std::convert::Infallible> {
    Ok(match Digest::from_hex(text) {
        Some(digest) => ImageArgument::Digest(digest),
        None => ImageArgument::File(text.into()),
    })
}

fn application(text: &str) -> Result<u32, &'static str> {
    let number = text.parse();
    number.map_err(|_| "no number of an application: `edgecloud ps` shows it")
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_sound() {
        super::Arguments::command().debug_assert();
    }
}
