use super::super::super::xen::grants::{Entry, Grants};
use super::*;
use crate::xen::blkfront::fake::{Fake, Random, parameters};
use crate::xen::blkfront::wire::Parameters;
use crate::xen::blkfront::{Blkfront, Broken};
use crate::xen::grants::DomainId;
use crate::xen::{Hypervisor, Port};
use core::cell::RefCell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

struct NoHypervisor;

impl Hypervisor for NoHypervisor {
    fn notify(&self, _port: Port) {}
    fn now(&self) -> u64 {
        0
    }
    fn wait(&self, _port: Port, _deadline: u64) {}
}

std::thread_local!(static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

fn tell(text: core::fmt::Arguments) {
    TOLD.with_borrow_mut(|told| told.push(text.to_string()));
}

fn told() -> Vec<String> {
    TOLD.take()
}

/// A disk, its backend, and what drives both.
struct World {
    entries: &'static [Entry],
    back: Fake<'static>,
    random: Random,
    file: Rc<File>,
}

impl World {
    fn new(parameters: Parameters, seed: u64) -> Self {
        let entries = Vec::leak((0..256).map(|_| Entry::default()).collect());
        let back = Fake::new(entries, parameters);
        let file = connect(entries, parameters);
        Self {
            entries,
            back,
            random: Random(seed),
            file,
        }
    }

    fn of(capacity: usize) -> Self {
        Self::new(parameters(capacity), 1)
    }

    /// The guest boots anew with the same disk.
    fn reboot(&mut self) {
        self.back.restart();
        self.file = connect(self.entries, self.back.parameters);
    }

    fn step(&mut self) -> bool {
        let front = self.file.disk().front();
        self.back.take(&front);
        self.back.answer(&front, &mut self.random)
    }

    /// Runs an operation to its end.
    fn run<R>(&mut self, operation: impl Future<Output = R>) -> R {
        let mut operation = pin!(operation);
        loop {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = operation.as_mut().poll(&mut context) {
                return result;
            }
            assert!(self.step(), "the operation waits for nothing");
        }
    }

    fn open(&mut self) -> OpenFile {
        let file = self.file.clone();
        self.run(OpenFile::open(file, 0)).unwrap()
    }

    fn read(&mut self, file: &OpenFile, position: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0xee; length];
        let count = self.run(file.file().read(position, &mut bytes))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn write(&mut self, file: &OpenFile, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.run(file.write(position, bytes))
    }

    fn set_length(&mut self, file: &OpenFile, length: u64) -> Result<(), Errno> {
        self.run(file.file().set_length(length))
    }
}

fn connect(entries: &'static [Entry], parameters: Parameters) -> Rc<File> {
    let mut grants = Grants::new(entries);
    let mut front = Blkfront::new(DomainId(0), 22, &mut grants).unwrap();
    front.connect(&parameters);
    let end = (&NoHypervisor as &dyn Hypervisor, Port(1));
    Rc::new(File::new(Disk::new(
        "xvda".into(),
        front,
        parameters,
        end,
        tell,
    )))
}

#[test]
fn bytes_at_the_edges_of_blocks() {
    for block in [512, 4096] {
        let mut world = World::new(
            Parameters {
                block,
                ..parameters(1 << 20)
            },
            1,
        );
        let file = world.open();
        world.back.contents.fill(0xaa);
        for (position, length) in [(0, 1), (511, 2), (4095, 2), (5000, 100_000), (1_048_575, 1)] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(world.write(&file, position, &bytes), Ok(length));
            assert_eq!(world.read(&file, position, length), Ok(bytes));
            let (start, end) = (position as usize, position as usize + length);
            let around = world.back.contents[..start].iter().rev().take(300);
            let around = around.chain(world.back.contents[end..].iter().take(300));
            assert!(around.into_iter().all(|&byte| byte == 0xaa));
            world.back.contents[start..end].fill(0xaa);
        }
    }
}

#[test]
fn a_plain_device_ends_as_linux_lets_it_end() {
    let mut world = World::of(64 << 10);
    let file = world.open();
    assert_eq!(world.read(&file, (64 << 10) - 3, 10).unwrap().len(), 3);
    assert_eq!(world.read(&file, 64 << 10, 10), Ok(vec![]));
    assert_eq!(world.read(&file, u64::MAX, 10), Ok(vec![]));
    assert_eq!(world.write(&file, (64 << 10) - 3, &[1; 10]), Ok(3));
    assert_eq!(world.write(&file, 64 << 10, &[1]), Err(Errno::ENOSPC));
    assert_eq!(world.write(&file, 64 << 10, &[]), Ok(0));
    assert_eq!(file.seek(0, Whence::End), Ok(64 << 10));
}

#[test]
fn positions_move() {
    let mut world = World::of(64 << 10);
    let file = world.open();
    assert_eq!(world.run(file.write_next(b"hello, world")), Ok(12));
    assert_eq!(file.seek(-5, Whence::Current), Ok(7));
    let mut bytes = [0; 5];
    assert_eq!(world.run(file.read_next(&mut bytes)), Ok(5));
    assert_eq!(&bytes, b"world");
    assert_eq!(file.seek(0, Whence::Current), Ok(12));
    assert_eq!(file.seek(-1, Whence::Set), Err(Errno::EINVAL));
    assert_eq!(file.seek(i64::MAX, Whence::End), Err(Errno::EINVAL));
    let other = world.open();
    assert_eq!(other.seek(0, Whence::Current), Ok(0));
}

#[test]
fn appending_and_writing_through() {
    let mut world = World::of(64 << 10);
    let shared = world.file.clone();
    let appending = world
        .run(OpenFile::open(shared, O_APPEND | O_DSYNC))
        .unwrap();
    assert_eq!(world.set_length(&appending, 5), Ok(()));
    assert_eq!(world.run(appending.write_next(b"abc")), Ok(3));
    assert_eq!(appending.seek(0, Whence::Current), Ok(8));
    let mut random = Random(3);
    world.back.lose_power(&mut random);
    assert_eq!(&world.back.contents[..8], b"\0\0\0\0\0abc");
}

#[test]
fn lengths_of_a_blank_disk() {
    let mut world = World::of(1 << 20);
    let room = (1 << 20) - 8192;
    let file = world.open();
    assert_eq!(file.status().size, 0);
    assert_eq!(file.seek(0, Whence::End), Ok(1 << 20));
    assert_eq!(world.set_length(&file, room + 1), Err(Errno::ENOSPC));
    assert_eq!(world.set_length(&file, 1000), Ok(()));
    assert_eq!(world.write(&file, 10, b"inside"), Ok(6));
    assert_eq!(file.status().size, 1000);
    assert_eq!(world.read(&file, 990, 100), Ok(vec![0; 10]));
    assert_eq!(world.write(&file, 5000, b"beyond"), Ok(6));
    assert_eq!(file.status().size, 5006);
    world.reboot();
    let file = world.open();
    assert_eq!(file.status().size, 5006);
    assert_eq!(world.read(&file, 10, 6), Ok(b"inside".to_vec()));
    assert_eq!(world.read(&file, 4998, 100), Ok(b"\0\0beyond".to_vec()));
    assert_eq!(world.write(&file, room - 2, b"last"), Ok(2));
    assert_eq!(world.write(&file, room, b"!"), Err(Errno::ENOSPC));
    assert_eq!(file.seek(0, Whence::End), Ok(room));
}

#[test]
fn what_grows_again_is_zeros() {
    let mut world = World::of(1 << 20);
    let file = world.open();
    assert_eq!(world.set_length(&file, 0), Ok(()));
    assert_eq!(world.write(&file, 0, &[7; 100_000]), Ok(100_000));
    assert_eq!(world.set_length(&file, 10), Ok(()));
    world.reboot();
    let file = world.open();
    assert_eq!(world.write(&file, 50_000, &[8]), Ok(1));
    assert_eq!(world.set_length(&file, 200_000), Ok(()));
    let bytes = world.read(&file, 0, 200_000).unwrap();
    let mut expected = vec![0; 200_000];
    expected[..10].fill(7);
    expected[50_000] = 8;
    assert!(bytes == expected);
}

#[test]
fn a_disk_with_data_and_no_label_is_a_file_as_long_as_the_disk() {
    let mut world = World::of(64 << 10);
    world.back.contents.fill(5);
    let file = world.open();
    assert_eq!(file.status().size, 64 << 10);
    assert_eq!(world.set_length(&file, 64 << 10), Ok(()));
    assert_eq!(world.back.seen[1], 0, "nothing had to be written");
    assert_eq!(world.set_length(&file, 60_000), Err(Errno::ENOSPC));
    assert_eq!(world.set_length(&file, 50_000), Ok(()));
    assert_eq!(world.set_length(&file, 55_000), Ok(()));
    assert_eq!(
        world.read(&file, 49_999, 10_000).unwrap(),
        [&[5][..], &[0; 5000]].concat()
    );
}

#[test]
fn a_plain_write_ends_being_blank() {
    let mut world = World::of(64 << 10);
    let file = world.open();
    assert_eq!(file.status().size, 0);
    assert_eq!(world.write(&file, 100, &[1]), Ok(1));
    assert_eq!(file.status().size, 64 << 10);
}

#[test]
fn a_disk_that_changed_its_size_has_no_label() {
    let mut world = World::of(1 << 20);
    let file = world.open();
    assert_eq!(world.set_length(&file, 5000), Ok(()));
    assert_eq!(world.write(&file, 0, &[1; 5000]), Ok(5000));
    world.back.parameters.capacity -= 8192;
    world.reboot();
    assert_eq!(world.open().status().size, (1 << 20) - 8192);
}

#[test]
fn a_tiny_disk_has_no_room_for_a_label() {
    for capacity in [0, 512, 4096] {
        let mut world = World::of(capacity);
        let file = world.open();
        assert_eq!(world.set_length(&file, 1), Err(Errno::ENOSPC));
        assert_eq!(world.read(&file, 0, 10_000), Ok(vec![0; capacity]));
    }
}

#[test]
fn a_disk_without_flush_says_so_once() {
    let world = World::new(
        Parameters {
            flush: false,
            ..parameters(64 << 10)
        },
        1,
    );
    assert_eq!(told().len(), 1);
    let mut world = world;
    let file = world.open();
    assert_eq!(world.write(&file, 0, b"volatile"), Ok(8));
    for _ in 0..2 {
        assert_eq!(world.run(file.disk().flush()), Err(Errno::EOPNOTSUPP));
    }
    assert_eq!(told().len(), 0);
}

#[test]
fn a_flush_that_is_refused_at_run_time_is_told() {
    let mut world = World::of(64 << 10);
    let file = world.open();
    assert_eq!(world.run(file.disk().flush()), Ok(()));
    world.back.refuses_flush = true;
    assert_eq!(world.run(file.disk().flush()), Err(Errno::EOPNOTSUPP));
    let said = told();
    assert!(
        said.len() == 1 && said[0].contains("fdatasync fail"),
        "{said:?}"
    );
}

#[test]
fn a_barrier_takes_the_place_of_a_refused_flush() {
    let mut both = parameters(64 << 10);
    both.barrier = true;
    let mut world = World::new(both, 1);
    world.back.refuses_flush = true;
    let file = world.open();
    assert_eq!(world.write(&file, 0, b"kept"), Ok(4));
    assert_eq!(world.run(file.disk().flush()), Ok(()));
    world.back.lose_power(&mut Random(1));
    assert_eq!(&world.back.contents[..4], b"kept");
    assert!(told().is_empty());
}

#[test]
fn errors_of_the_disk_are_those_of_the_call() {
    let mut world = World::of(1 << 20);
    let file = world.open();
    world.back.bad_sectors = 400..401;
    let before = 400 * 512 - 10_000;
    assert_eq!(world.read(&file, 400 * 512, 10), Err(Errno::EIO));
    assert_eq!(world.write(&file, 400 * 512 + 1, &[1]), Err(Errno::EIO));
    let count = world.read(&file, before, 100_000).map(|read| read.len());
    assert_eq!(
        count,
        Err(Errno::EIO),
        "the first request has the bad sector"
    );
    let count = world.read(&file, 0, 300_000).unwrap().len();
    assert!(count > 0 && count <= 400 * 512, "{count}");
    assert_eq!(world.write(&file, 0, &[1; 300_000]), Ok(count));
    assert_eq!(world.read(&file, 0, 10), Ok(vec![1; 10]), "the rest works");
}

#[test]
fn a_disk_that_is_given_up_fails_all_who_wait() {
    let mut world = World::of(1 << 20);
    let file = world.open();
    let mut bytes = vec![0; 200_000];
    let mut reading = pin!(file.file().read(0, &mut bytes));
    let mut context = Context::from_waker(Waker::noop());
    assert!(reading.as_mut().poll(&mut context).is_pending());
    file.disk().give_up(Broken::Detached);
    assert_eq!(
        reading.as_mut().poll(&mut context),
        Poll::Ready(Err(Errno::EIO))
    );
    assert_eq!(world.write(&file, 0, &[1; 100_000]), Err(Errno::EIO));
    assert_eq!(world.run(file.disk().flush()), Err(Errno::EIO));
    let said = told();
    assert!(said.len() == 1 && said[0].contains("detached"), "{said:?}");
}

#[test]
fn closing_gives_locks_back() {
    let mut world = World::of(64 << 10);
    let (one, two) = (world.open(), world.open());
    assert_eq!(one.try_lock(Some(Kind::Exclusive)), Ok(()));
    assert_eq!(one.try_lock_range(0..u64::MAX, Some(Kind::Shared)), Ok(()));
    assert_eq!(two.try_lock(Some(Kind::Shared)), Err(Conflict));
    assert!(two.conflict(&(5..6), Kind::Exclusive).is_some());
    drop(one);
    assert_eq!(two.try_lock(Some(Kind::Shared)), Ok(()));
    assert!(two.conflict(&(5..6), Kind::Exclusive).is_none());
}

/// An operation on its way, and what it shall have done.
struct Flying<'f> {
    operation: Pin<Box<dyn Future<Output = Result<usize, Errno>> + 'f>>,
    range: Range<usize>,
    write: bool,
    buffer: *const [u8],
}

/// Many operations at once, of random places and lengths, against a plain vector. Those that run at the same
/// time touch different bytes, but often the same blocks.
#[test]
fn operations_at_once_do_what_they_say() {
    const CAPACITY: usize = 256 << 10;
    for seed in 0..30 {
        let mut world = World::new(
            Parameters {
                block: if seed % 2 == 0 { 512 } else { 4096 },
                ..parameters(CAPACITY)
            },
            seed,
        );
        let open = world.open();
        let file = open.file();
        let mut model = vec![0u8; CAPACITY];
        let mut flying: Vec<Flying> = Vec::new();
        for round in 0..1_500 {
            let longest = [16, 700, 5_000, 120_000][world.random.below(4)];
            let length = 1 + world.random.below(longest);
            let start = world.random.below(CAPACITY - length);
            let range = start..start + length;
            let free = flying
                .iter()
                .all(|other| other.range.end <= range.start || range.end <= other.range.start);
            if free && flying.len() < 12 {
                flying.push(if world.random.one_in(2) {
                    let bytes = Box::leak(vec![round as u8; length].into_boxed_slice());
                    model[range.clone()].copy_from_slice(bytes);
                    Flying {
                        buffer: bytes,
                        operation: Box::pin(file.write(start as u64, bytes)),
                        range,
                        write: true,
                    }
                } else {
                    let bytes = Box::leak(vec![0xee; length].into_boxed_slice());
                    Flying {
                        buffer: bytes,
                        operation: Box::pin(file.read(start as u64, bytes)),
                        range,
                        write: false,
                    }
                });
            }
            if world.random.one_in(3) {
                world.step();
            }
            let mut context = Context::from_waker(Waker::noop());
            flying.retain_mut(|flying| {
                let Poll::Ready(done) = flying.operation.as_mut().poll(&mut context) else {
                    return true;
                };
                assert_eq!(done, Ok(flying.range.len()), "seed {seed}, round {round}");
                // SAFETY: leaked, and the operation is done with it.
                let bytes = unsafe { &*flying.buffer };
                assert!(
                    flying.write || *bytes == model[flying.range.clone()],
                    "seed {seed}, round {round}"
                );
                false
            });
        }
        for flying in flying {
            assert_eq!(world.run(flying.operation), Ok(flying.range.len()));
        }
        assert!(world.back.contents == model, "seed {seed}");
    }
}

/// What was acknowledged before a flush was asked for is there after a loss of power, lengths included.
#[test]
fn flushed_files_survive_a_loss_of_power() {
    const CAPACITY: usize = 128 << 10;
    for seed in 0..60 {
        let mut world = World::new(parameters(CAPACITY), seed);
        let mut durable: Vec<u8> = Vec::new();
        for _ in 0..6 {
            let file = world.open();
            assert_eq!(file.status().size, durable.len() as u64, "seed {seed}");
            let length = durable.len();
            assert!(
                world.read(&file, 0, length).unwrap() == durable,
                "seed {seed}"
            );
            let mut model = durable.clone();
            for _ in 0..world.random.below(10) {
                change(&mut world, &file, &mut model);
            }
            assert_eq!(world.run(file.disk().flush()), Ok(()));
            durable = model;
            // A few changes that nobody promised to keep. They leave the length and what was there alone, so
            // that what must be there can be told: it is written over with itself.
            for _ in 0..world.random.below(4) {
                let start = world.random.below(durable.len().max(1));
                let bytes = durable[start..].to_vec();
                let written = world.write(&file, start as u64, &bytes);
                assert_eq!(written, Ok(bytes.len()));
            }
            let mut random = Random(seed);
            world.back.lose_power(&mut random);
            world.reboot();
        }
    }
}

fn change(world: &mut World, file: &OpenFile, model: &mut Vec<u8>) {
    let at = world.random.below(100_000);
    if world.random.one_in(3) || model.is_empty() {
        assert_eq!(world.set_length(file, at as u64), Ok(()));
        model.resize(at, 0);
    } else {
        let bytes = vec![at as u8; 1 + world.random.below(9_000)];
        let written = world.write(file, at as u64, &bytes);
        assert_eq!(written, Ok(bytes.len()));
        model.resize(model.len().max(at + bytes.len()), 0);
        model[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}
