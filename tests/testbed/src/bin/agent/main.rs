//! The agent: what executes commands in the testbed's dom0.
//!
//! `serve` answers on every virtio serial port. The other subcommands are for the shell commands
//! that the testbed's library sends: they wait in dom0, where the event happens.

mod answer;
mod port;
mod process;
mod session;
#[cfg(test)]
mod tests;
mod wait;

use std::process::ExitCode;

const USAGE: &str = "usage: agent serve
       agent create NAME CFG [FLAG…]      create a domain, print its number
       agent console NAME TEXT            wait until the domain's console has the text
       agent end NAME                     wait until the domain has ended, print xl's log
       agent time-console NAME TEXT CFG   create a domain, print the ns until its console has the text
       agent time-end NAME CFG            create a domain, print the ns until it has ended
       agent time-answer NAME ADDR CFG    create a domain, print the ns until it has answered by HTTP";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve"] => port::serve(),
        ["create", name, config, ref flags @ ..] => wait::create(name, config, flags),
        ["console", name, text] => wait::console(name, text),
        ["end", name] => wait::end(name),
        ["time-console", name, text, config] => wait::time_to_console(name, text, config),
        ["time-end", name, config] => wait::time_to_end(name, config),
        ["time-answer", name, address, config] => answer::time(name, address, config),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
