//! `cargo xtask`: the one way to do everything a developer does.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod conformance;
mod demo;
mod fuzz;
mod image;
mod succeed;
mod symbolize;
mod test;
mod testbed;

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build a bootable image of a Rust program
    Image(image::Options),
    /// Put function names and lines to the addresses in a domain's console output
    Symbolize(symbolize::Options),
    /// The Xen machine, kept running between calls
    Testbed(testbed::Options),
    /// Everything that CI runs
    Test(test::Options),
    /// A benchmark with its peer in the same run
    Bench(bench::Options),
    /// An outside suite put to the cache, against a table of what passes
    Conformance(conformance::Options),
    /// Photographs from a phone to a photo site, without and with EdgeCloud
    Demo(demo::Options),
    /// What reads bytes of others' making, under libFuzzer
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Image(options) => image::run(options),
        Command::Symbolize(options) => symbolize::run(options),
        Command::Testbed(options) => testbed::run(options),
        Command::Test(options) => test::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Conformance(options) => conformance::run(options),
        Command::Demo(options) => demo::run(options),
        Command::Fuzz(options) => fuzz::run(options),
    }
}
