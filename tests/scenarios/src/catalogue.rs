//! All scenarios, in the order in which they run: cheap and telling ones first; of the long ones those first
//! that take longest, so that the machines of the testbed end together.

use crate::World;
use crate::scenario::Scenario;
use crate::topics::{
    bad_input, cache, clocks, configuration, controller, disk, endings, faults, images, many,
    memory, network, photo, programs, random, service, station, uploader,
};

/// The scenarios of a world whose names contain `filter`.
pub(crate) fn scenarios(world: World, filter: Option<&str>) -> Vec<Scenario> {
    all()
        .into_iter()
        .filter(|scenario| scenario.runs_in(world))
        .filter(|scenario| filter.is_none_or(|part| scenario.name.contains(part)))
        .collect()
}

fn all() -> Vec<Scenario> {
    [
        images::scenarios(),
        programs::scenarios(),
        faults::scenarios(),
        endings::scenarios(),
        clocks::scenarios(),
        configuration::scenarios(),
        memory::scenarios(),
        random::scenarios(),
        bad_input::scenarios(),
        disk::scenarios(),
        network::scenarios(),
        service::scenarios(),
        station::scenarios(),
        photo::scenarios(),
        controller::scenarios(),
        uploader::scenarios(),
        cache::scenarios(),
        many::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for scenario in all() {
            assert!(
                seen.insert(scenario.name.clone()),
                "{} twice",
                scenario.name
            );
            assert!(
                World::ALL.iter().any(|&world| scenario.runs_in(world)),
                "{}",
                scenario.name
            );
        }
    }
}
