//! What the controller's benchmarks run: `cargo xtask bench openflow`, `reconcile`, `redirect`, `revoke`.
//!
//! `switch-load learn` is a learning switch made of what `edgecloudd` speaks OpenFlow with: its
//! [`edgecloudd::ovs::Connection`] and the codec. It does what ovs-testcontroller and os-ken's do: it
//! learns where addresses are, installs a flow for a packet whose target it knows, and sends the packet.
//!
//! `switch-load ask` is many switches that ask any controller for flows. It speaks 1.0, 1.3 and 1.5 by
//! bytes of its own, so that it neither favours the codec nor believes it, and counts what was completed:
//! the right flow installed, and the very packet sent out of the right port.

#![forbid(unsafe_code)]

mod ask;
mod figure;
mod frame;
mod learn;
mod reconcile;
mod redirect;
mod relay;
mod revoke;
mod served;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde_json::json;
use site::Place;
use testbed::Testbed;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Be a learning switch's controller, until killed
    Learn,
    /// Be switches, and say how many flows a controller set up
    Ask {
        /// Where the controller listens
        controller: SocketAddr,
        /// The version to speak: 1 (1.0), 4 (1.3) or 6 (1.5)
        #[arg(long)]
        version: wire::Version,
        /// How many switches
        #[arg(long, default_value_t = 16)]
        switches: u16,
        /// How many packets each sends without waiting for an answer
        #[arg(long, default_value_t = 64)]
        window: u32,
        /// How long it is measured
        #[arg(long, default_value_t = 2000)]
        milliseconds: u64,
        /// The controller's process, whose time on processors is told
        #[arg(long)]
        process: u32,
    },
    /// Install 20,000 flows in a running Open vSwitch, beside ovs-ofctl
    Reconcile {
        /// How often each does
        #[arg(long, default_value_t = 7)]
        rounds: u16,
    },
    /// Ask through an appliance's redirect, and straight through the same switch
    Redirect {
        /// Where domains run
        #[arg(long, value_enum, default_value = "netns")]
        world: World,
        /// How often 400 requests are made each way
        #[arg(long, default_value_t = 7)]
        rounds: u16,
    },
    /// Revoke applications while their clients speak
    Revoke {
        /// How many
        #[arg(long, default_value_t = 120)]
        rounds: u32,
    },
}

/// Where domains run.
#[derive(Clone, Copy, ValueEnum)]
enum World {
    /// As processes, in network namespaces
    Netns,
    /// On Xen, in the testbed that `cargo xtask testbed up` keeps, or one of this run's own
    Xen,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Learn => block_on(learn::serve()),
        Command::Ask {
            controller,
            version,
            switches,
            window,
            milliseconds,
            process,
        } => {
            let load = ask::Load {
                controller,
                version,
                switches,
                window,
                measured: Duration::from_millis(milliseconds),
                process,
            };
            let told = block_on(load.put())?;
            let told = json!({
                "setups": told.setups,
                "lost": told.lost,
                "seconds": told.seconds,
                "processor-seconds": told.processor_seconds,
            });
            println!("{told}");
            Ok(())
        }
        Command::Reconcile { rounds } => block_on(reconcile::run(rounds)),
        Command::Redirect { world, rounds } => match world {
            World::Netns => redirect::run(&Place::netns(served::workspace())?, rounds),
            World::Xen => {
                let root = served::workspace();
                let starting = || Testbed::start(root, &mut |line: &str| eprintln!("{line}"));
                let testbed = Testbed::connect(root).or_else(|_| starting())?;
                redirect::run(&Place::xen(root, &testbed)?, rounds)
            }
        },
        Command::Revoke { rounds } => revoke::run(rounds),
    }
}

fn block_on<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_all().build()?.block_on(task)
}
