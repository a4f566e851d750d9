//! What a scenario is: a name, what it needs, and what it does in each of the worlds.

use anyhow::Result;

use crate::World;
use crate::image::Image;
use crate::process::Processes;
use crate::xen::Xen;

/// Sent to the thread that runs it: the machines of the testbed share the scenarios out.
type Body<W> = Box<dyn Fn(&W) -> Result<()> + Send + Sync>;

/// One thing that must be true.
pub(crate) struct Scenario {
    /// `topic: what is true`, unique within a world.
    pub(crate) name: String,
    /// What must be built before, so that this goes on while the testbed boots.
    pub(crate) images: Vec<Image>,
    pub(crate) on_xen: Option<Body<Xen>>,
    pub(crate) as_process: Option<Body<Processes>>,
    /// What only who asks for it gets, instead of `on_xen`.
    pub(crate) longer_on_xen: Option<Longer>,
}

/// The same with as much of everything as where programs are processes.
pub(crate) struct Longer {
    /// About so long, where Xen is emulated.
    pub(crate) minutes: u32,
    pub(crate) body: Body<Xen>,
}

impl Scenario {
    /// A scenario that needs Xen.
    pub(crate) fn on_xen(
        name: impl Into<String>,
        images: &[Image],
        body: impl Fn(&Xen) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        Scenario {
            name: name.into(),
            images: images.to_vec(),
            on_xen: Some(Box::new(body)),
            as_process: None,
            longer_on_xen: None,
        }
    }

    /// Says what the scenario does where its program is a process.
    pub(crate) fn and_as_process(
        mut self,
        body: impl Fn(&Processes) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        self.as_process = Some(Box::new(body));
        self
    }

    /// Says what is done on Xen with `--long`, in about so many minutes where it is emulated; what is done
    /// without is the same story with fewer people in it.
    pub(crate) fn longer_on_xen(
        mut self,
        minutes: u32,
        body: impl Fn(&Xen) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        self.longer_on_xen = Some(Longer {
            minutes,
            body: Box::new(body),
        });
        self
    }

    /// Whether there is anything to do in a world.
    pub(crate) fn runs_in(&self, world: World) -> bool {
        match world {
            World::Netns => self.as_process.is_some(),
            World::Xen => self.on_xen.is_some(),
        }
    }
}
