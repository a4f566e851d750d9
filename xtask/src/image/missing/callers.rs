//! Which of a program's functions lead to a missing symbol. The linker names only the last one, and that
//! is nearly always std's.
//!
//! The program is linked once more, with open symbols let through and with its relocations kept: a
//! relocation says what refers to what.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use anyhow::Result;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionKind, SymbolKind,
};

use super::super::function_names::{crate_of, cut, demangle};

/// What a link needs beside its usual arguments to be read by [`Callers::read`].
pub(in crate::image) const LINKER_ARGUMENT: &str =
    "-Wl,--unresolved-symbols=ignore-all,--emit-relocs";

/// These are in every program: that they want a symbol says nothing.
const TOOLCHAIN: [&str; 4] = ["std", "core", "alloc", "main"];

/// Who refers to whom, by address.
#[derive(Default)]
pub(in crate::image) struct Callers {
    /// A missing symbol's users.
    users: HashMap<String, BTreeSet<u64>>,
    /// The places that refer to a place.
    callers: HashMap<u64, BTreeSet<u64>>,
    functions: HashMap<u64, String>,
}

impl Callers {
    pub(in crate::image) fn read(executable: &[u8]) -> Result<Callers> {
        let file = object::File::parse(executable)?;
        let references = references(&file);
        let places = Places::of(&file, &references);
        let mut graph = Callers {
            functions: functions(&file),
            ..Callers::default()
        };
        for Reference { from, to } in references {
            let from = places.at(from);
            match to {
                Target::Missing(name) => graph.users.entry(name).or_default().insert(from),
                Target::Address(address) => graph
                    .callers
                    .entry(places.at(address))
                    .or_default()
                    .insert(from),
            };
        }
        Ok(graph)
    }

    /// The shortest way from a symbol to the program's own crate, or else to any crate but std: for each
    /// crate on it the function that calls out of it, std's left out.
    pub(in crate::image) fn of(&self, symbol: &str, program: &str) -> Vec<String> {
        let users = self.users.get(symbol).into_iter().flatten();
        let mut reached_from: HashMap<u64, u64> = HashMap::new();
        let mut queue: VecDeque<u64> = users.copied().collect();
        let mut seen: HashSet<u64> = queue.iter().copied().collect();
        let mut other = None;
        while let Some(place) = queue.pop_front() {
            let name = self
                .functions
                .get(&place)
                .and_then(|function| crate_of(function));
            match name {
                Some(name) if name == program => return self.way(place, &reached_from),
                Some(name) if !TOOLCHAIN.contains(&name) => other = other.or(Some(place)),
                _ => {}
            }
            for caller in self.callers.get(&place).into_iter().flatten() {
                if seen.insert(*caller) {
                    reached_from.insert(*caller, place);
                    queue.push_back(*caller);
                }
            }
        }
        other.map_or_else(Vec::new, |place| self.way(place, &reached_from))
    }

    fn way(&self, end: u64, reached_from: &HashMap<u64, u64>) -> Vec<String> {
        let mut places = vec![end];
        let mut place = end;
        while let Some(before) = reached_from.get(&place) {
            places.push(*before);
            place = *before;
        }
        let mut way: Vec<String> = Vec::new();
        let mut crate_before = None;
        for function in places
            .iter()
            .rev()
            .filter_map(|place| self.functions.get(place))
        {
            let name = crate_of(function).filter(|name| !TOOLCHAIN.contains(name));
            if let Some(name) = name
                && crate_before != Some(name)
            {
                way.push(format!("crate {name}: {}", cut(function)));
                crate_before = Some(name);
            }
        }
        way
    }
}

/// One relocation.
struct Reference {
    from: u64,
    to: Target,
}

enum Target {
    Address(u64),
    Missing(String),
}

fn references(file: &object::File) -> Vec<Reference> {
    let loaded = |kind: SectionKind| {
        matches!(
            kind,
            SectionKind::Text
                | SectionKind::Data
                | SectionKind::ReadOnlyData
                | SectionKind::ReadOnlyDataWithRel
        )
    };
    // Tables for unwinding mention every function and call none.
    let sections = file.sections().filter(|section| {
        let unwinding = section.name().is_ok_and(|name| {
            name.starts_with(".eh_frame") || name.starts_with(".gcc_except_table")
        });
        loaded(section.kind()) && !unwinding
    });
    let relocations = sections.flat_map(|section| section.relocations());
    relocations
        .filter_map(|(from, relocation)| {
            Some(Reference {
                from,
                to: target(file, &relocation)?,
            })
        })
        .collect()
}

fn target(file: &object::File, relocation: &object::Relocation) -> Option<Target> {
    let RelocationTarget::Symbol(index) = relocation.target() else {
        return None;
    };
    let symbol = file.symbol_by_index(index).ok()?;
    if symbol.is_undefined() {
        return Some(Target::Missing(demangle(symbol.name().ok()?)));
    }
    // A processor counts from the next instruction, usually four bytes on.
    let correction = match relocation.kind() {
        RelocationKind::Absolute => 0,
        _ => 4,
    };
    let offset = if symbol.kind() == SymbolKind::Section {
        relocation.addend() + correction
    } else {
        0
    };
    Some(Target::Address(
        symbol.address().wrapping_add_signed(offset),
    ))
}

fn functions(file: &object::File) -> HashMap<u64, String> {
    let named = file
        .symbols()
        .filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text);
    named
        .filter_map(|symbol| Some((symbol.address(), demangle(symbol.name().ok()?))))
        .collect()
}

/// Where functions and data begin. Constants like vtables have no symbols: those begin where something
/// refers to.
struct Places(BTreeSet<u64>);

impl Places {
    fn of(file: &object::File, references: &[Reference]) -> Places {
        let sized: BTreeMap<u64, u64> = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.size() > 0)
            .map(|symbol| (symbol.address(), symbol.address() + symbol.size()))
            .collect();
        let inside_symbol = |address: u64| {
            sized
                .range(..=address)
                .next_back()
                .is_some_and(|(_, end)| address < *end)
        };
        let unnamed = references
            .iter()
            .filter_map(|reference| match reference.to {
                Target::Address(address) if !inside_symbol(address) => Some(address),
                _ => None,
            });
        Places(sized.keys().copied().chain(unnamed).collect())
    }

    fn at(&self, address: u64) -> u64 {
        self.0
            .range(..=address)
            .next_back()
            .copied()
            .unwrap_or(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(functions: &[(u64, &str)], calls: &[(u64, u64)], users: &[u64]) -> Callers {
        let functions = functions
            .iter()
            .map(|(place, name)| (*place, (*name).to_owned()))
            .collect();
        let mut graph = Callers {
            functions,
            ..Callers::default()
        };
        graph
            .users
            .insert("fork".to_owned(), users.iter().copied().collect());
        for (from, to) in calls {
            graph.callers.entry(*to).or_default().insert(*from);
        }
        graph
    }

    const FUNCTIONS: [(u64, &str); 5] = [
        (1, "std::process::Command::do_fork"),
        (2, "std::process::Command::spawn"),
        (3, "runner::start"),
        (4, "runner::Pool::fill"),
        (5, "app::serve"),
    ];

    #[test]
    fn the_way_has_one_function_of_each_crate() {
        // 9 is a vtable: it has no name, and the way leads through it.
        let graph = graph(
            &FUNCTIONS,
            &[(2, 1), (3, 2), (4, 3), (9, 4), (5, 9), (5, 5), (1, 5)],
            &[1],
        );
        assert_eq!(
            graph.of("fork", "app"),
            ["crate runner: runner::start", "crate app: app::serve"]
        );
        assert_eq!(graph.of("vfork", "app"), [""; 0]);
    }

    #[test]
    fn another_crate_is_better_than_none() {
        let graph = graph(&FUNCTIONS, &[(2, 1), (3, 2), (4, 3)], &[1]);
        assert_eq!(graph.of("fork", "app"), ["crate runner: runner::start"]);
    }
}
