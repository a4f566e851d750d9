//! Threads and everything by which they wait for each other, from std, crossbeam and parking_lot.

mod threads {
    //! The topics, in two rooms.
    pub(crate) mod local;
    pub(crate) mod waiting;
}

use threads::{local, waiting};

fn main() {
    guests::tell(
        "threads",
        &[
            ("spawn and join", waiting::spawn_and_join),
            ("park and unpark", waiting::park_and_unpark),
            ("mutex", waiting::mutex),
            ("read-write lock", waiting::read_write_lock),
            ("condition variable", waiting::condition_variable),
            (
                "condition variable with a deadline",
                waiting::condition_variable_with_deadline,
            ),
            ("barrier", waiting::barrier),
            ("channels", waiting::channels),
            ("a channel with a deadline", waiting::channel_with_deadline),
            ("once", waiting::once),
            ("crossbeam channels", waiting::crossbeam_channels),
            ("parking_lot", waiting::parking_lot_locks),
            (
                "thread-locals and their destructors",
                local::destructors_in_order,
            ),
            ("names and identities", local::names),
            ("stack sizes", local::stack_sizes),
            ("scoped threads", local::scoped),
            (
                "a thousand threads one after the other",
                local::thousand_in_turn,
            ),
            ("a hundred threads at once", local::hundred_at_once),
            ("atomics", local::atomics),
            (
                "as many threads as there are processors",
                local::parallelism,
            ),
        ],
    );
}
