//! `cargo xtask conformance`: outside suites put to our programs, against a committed table.
//!
//! npm's `http-cache-tests` goes through the cache to its own origin server. The table,
//! `tests/conformance/http-cache-tests.txt`, has a line for each test; one that passed there must
//! pass again, so results only improve. A test counts as passed if those that it depends on have.
//! Others' test pictures go through the thumbnailer the same way ([`pictures`]).

mod pictures;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::succeed::succeed;

/// The suite, by the release that the table is of.
const SUITE: &str = "http-cache-tests@0.4.5";
const TABLE: &str = "tests/conformance/http-cache-tests.txt";
/// Tests pause for three seconds where something has to become stale, which a busy machine can
/// stretch: what fails is tried again so often.
const TRIES: usize = 3;
/// Lists the tests with what they depend on.
const LIST: &str = "import tests from './tests/index.mjs';
const all = tests.flatMap(suite => suite.tests).filter(test => !test.browser_only);
console.log(JSON.stringify(all.map(({ id, kind, depends_on }) => ({ id, kind, depends_on }))));";

#[derive(Args)]
pub(crate) struct Options {
    /// Write the table anew, where nothing in it got worse
    #[arg(long)]
    update: bool,
}

#[derive(Deserialize)]
struct Test {
    id: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// Results by kind and name.
type Table = BTreeMap<(String, String), bool>;

pub(crate) fn run(options: Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let suite = install(&root)?;
    let mut build = Command::new("cargo");
    build.args(["build", "-q", "-p", "cache"]);
    succeed(build.current_dir(&root), "build the cache")?;
    let tests = list(&suite)?;
    let known = read(&root.join(TABLE))?;
    let mut passed = Vec::new();
    let mut table = Table::new();
    for _ in 0..TRIES {
        passed.extend(judge(&root, &suite)?);
        table = results(&tests, &passed);
        if lost(&known, &table).is_empty() {
            break;
        }
    }
    for kind in ["required", "optimal", "check"] {
        let of_kind = table.iter().filter(|((one, _), _)| one == kind);
        let (passed, all) = of_kind.fold((0, 0), |(passed, all), (_, &ok)| {
            (passed + usize::from(ok), all + 1)
        });
        println!("{kind}: {passed} of {all}");
    }
    let (lost, won) = (lost(&known, &table), lost(&table, &known));
    for id in &lost {
        println!("lost: {id}");
    }
    for id in &won {
        println!("won: {id} (cargo xtask conformance --update)");
    }
    if options.update && lost.is_empty() {
        fs::write(root.join(TABLE), written(&table))?;
    } else {
        ensure!(
            !known.is_empty(),
            "{TABLE} is missing: make it with --update"
        );
    }
    let held = known.values().filter(|passed| **passed).count() - lost.len();
    let (shown, worse) = pictures::run(&root, options.update)?;
    println!("{} passed, {} failed", held + shown, lost.len() + worse);
    if !lost.is_empty() || worse > 0 {
        std::process::exit(1); // The last line is said already.
    }
    Ok(())
}

/// Installs the suite below `target/`; its folder.
fn install(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/conformance");
    fs::create_dir_all(&folder)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-save",
        "--ignore-scripts",
        SUITE,
    ]);
    npm.arg("--prefix").arg(&folder);
    succeed(&mut npm, "install the suite (apt-get install nodejs npm)")?;
    Ok(folder.join("node_modules/http-cache-tests"))
}

fn list(suite: &Path) -> Result<Vec<Test>> {
    let mut node = node(suite);
    let output = node.args(["--input-type=module", "-e", LIST]).output()?;
    serde_json::from_slice(&output.stdout).context("the suite cannot be listed")
}

fn node(suite: &Path) -> Command {
    let mut node = Command::new("node");
    node.arg("--no-warnings").current_dir(suite);
    node
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the suite once through a cache of its own; the names of the tests that passed.
fn judge(root: &Path, suite: &Path) -> Result<Vec<String>> {
    // The suite's server cannot say which port it got.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (_origin, _) = start(
        node(suite)
            .arg("server/server.mjs")
            .env("npm_config_protocol", "http")
            .env("npm_config_port", port.to_string())
            .env("npm_config_pidfile", root.join("target/conformance/pid")),
        "Listening on ",
    )?;
    let document = format!(
        "[appliance]\nhttp = '127.0.0.1:0'\nhttps = 'off'\nmanagement = '127.0.0.1:0'\n\
         connections-max = 1000\n[service]\norigin = 'localhost:{port}'\n"
    );
    let mut cache = Command::new(root.join("target/debug/cache"));
    let (_cache, address) = start(cache.env("CONFIG", document), "cache: http on ")?;
    let output = node(suite)
        .arg("cli.mjs")
        .env("npm_config_base", format!("http://{address}"))
        .env("npm_package_config_id", "")
        .output()?;
    let results: BTreeMap<String, Value> =
        serde_json::from_slice(&output.stdout).context("the suite gave no results")?;
    let passed = results
        .into_iter()
        .filter(|(_, result)| *result == Value::Bool(true));
    Ok(passed.map(|(id, _)| id).collect())
}

/// Starts a program and waits for the line that begins so; its rest.
fn start(command: &mut Command, sign: &str) -> Result<(Running, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let lines = child.stdout.take().context("no pipe")?;
    let running = Running(child);
    let mut lines = BufReader::new(lines);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            bail!("it ended before it said {sign:?}");
        }
        if let Some(rest) = line.strip_prefix(sign) {
            // What it writes later is read by somebody, or it would stop at a full pipe.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return Ok((running, rest.trim().to_owned()));
        }
    }
}

fn results(tests: &[Test], passed: &[String]) -> Table {
    let kind = |test: &Test| test.kind.clone().unwrap_or_else(|| "required".to_owned());
    let result = |test: &Test| {
        (
            (kind(test), test.id.clone()),
            holds(tests, passed, &test.id, 0),
        )
    };
    tests.iter().map(result).collect()
}

/// Whether a test and all that it depends on passed; the suite's chains are shorter than ten.
fn holds(tests: &[Test], passed: &[String], id: &str, depth: usize) -> bool {
    let Some(test) = tests.iter().find(|test| test.id == id) else {
        return true;
    };
    let depends = |id: &String| depth < 10 && holds(tests, passed, id, depth + 1);
    passed.iter().any(|one| one == id) && test.depends_on.iter().all(depends)
}

/// What passes in the one and not in the other.
fn lost(known: &Table, table: &Table) -> Vec<String> {
    let gone =
        |(test, passed): &(&(String, String), &bool)| **passed && table.get(*test) != Some(&true);
    known
        .iter()
        .filter(gone)
        .map(|((_, id), _)| id.clone())
        .collect()
}

fn read(path: &Path) -> Result<Table> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(Table::new());
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line_of(line).with_context(|| format!("{TABLE}: {line}")))
        .collect()
}

fn line_of(line: &str) -> Option<((String, String), bool)> {
    let mut words = line.split(' ');
    let (kind, id, result) = (words.next()?, words.next()?, words.next()?);
    Some(((kind.to_owned(), id.to_owned()), result == "pass"))
}

fn written(table: &Table) -> String {
    let mut text = format!("# {SUITE} through the cache: `cargo xtask conformance --update`\n");
    for ((kind, id), passed) in table {
        let result = if *passed { "pass" } else { "fail" };
        text.push_str(&format!("{kind} {id} {result}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(id: &str, depends_on: &[&str]) -> Test {
        Test {
            id: id.to_owned(),
            kind: None,
            depends_on: depends_on.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[test]
    fn a_result_may_only_improve() {
        let tests = [test("a", &[]), test("b", &["a"])];
        let both = results(&tests, &["a".to_owned(), "b".to_owned()]);
        let none = results(&tests, &["b".to_owned()]);
        assert!(none.values().all(|passed| !passed), "b depends on a");
        assert_eq!(lost(&both, &none), ["a", "b"]);
        assert!(lost(&none, &both).is_empty());
        let text = written(&both);
        let again: Option<Table> = text.lines().skip(1).map(line_of).collect();
        assert_eq!(again, Some(both));
    }
}
