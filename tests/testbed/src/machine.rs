//! One QEMU with Xen in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::connection::Connection;
use crate::console;
use crate::host::{self, program};
use crate::image::Image;
use crate::protocol::{PORTS, port_name};

/// What runs the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor, nested virtualisation included.
    Kvm,
    /// QEMU's software emulation.
    Emulation,
}

/// Until the agent answers. Emulation takes 15 to 60 s on a machine that is not busy.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// With KVM it is a matter of seconds; where guests do not really run, it is never.
const BOOT_LIMIT_KVM: Duration = Duration::from_secs(60);

impl Accelerator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulation => "software emulation",
        }
    }

    pub(crate) fn boot_limit(self) -> Duration {
        match self {
            Self::Kvm => BOOT_LIMIT_KVM,
            Self::Emulation => BOOT_LIMIT,
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Xen's PV dom0 dies at once with QEMU 7.2's emulation of SMAP and SMEP. With a thread
            // per processor, Xen itself once ended in a double fault, on a stack that was a guest's;
            // with one for all, processors that wait for each other also cost a busy host less. Who sees
            // ERMS copies by `rep movsb`, which is emulated byte by byte: a tenth of all time went there.
            // And QEMU 7.2 does not intercept XSETBV, whatever the hypervisor asks: a guest that turned AVX
            // on did so behind Xen's back, whose next XRSTOR then failed and left it with zeros in all vector
            // registers, once in each guest's life.
            Self::Emulation => [
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,-smap,-smep,-erms,-xsave",
            ],
        }
    }
}

/// Guests of 200 times 16 MB have room beside dom0.
const MEMORY: &str = "6G";

/// `loglvl` and the ring's size: what tests print when they fail must not have been lost.
/// `bootscrub`: erasing memory that is zero already takes the emulation seconds, and the host all
/// of [`MEMORY`] instead of what is used.
/// `eager-fpu`: otherwise Xen leaves the vector registers of another vCPU in the processor until the first
/// instruction that uses them faults, and QEMU 7.2 lets AVX instructions through. Programs in dom0 then
/// had each other's registers: a copy of 64 kB was damaged in 1 of 4,500, and `xl` crashed now and then.
/// `spec-ctrl=no` and `mitigations=off`: there is no speculation to defend against in an emulation, and the
/// defence takes a tenth of its time.
const XEN_ARGUMENTS: &str = "dom0_mem=1536M,max:1536M console=com1 com1=115200 bootscrub=0 \
                             spec-ctrl=no,eager-fpu loglvl=all guest_loglvl=all conring_size=4M";

const KERNEL_ARGUMENTS: &str = "console=hvc0 quiet loglevel=4 panic=-1 mitigations=off";

/// The folder of one machine: its sockets, its console's log, links to the files it boots from.
pub(crate) struct Folder {
    path: PathBuf,
    /// Whether it goes with this value.
    temporary: bool,
}

impl Folder {
    /// Makes the folder, anew if it is there.
    pub(crate) fn make(path: PathBuf, image: &Image, initrd: &[u8]) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path).context("cannot remove an old machine's folder")?;
        }
        fs::create_dir_all(&path).context("cannot make the machine's folder")?;
        // By links, QEMU's command line has only names that need no escaping.
        for (target, link) in [
            (image.xen(), "xen"),
            (image.kernel(), "vmlinuz"),
            (image.disk(), "disk.img"),
        ] {
            symlink(fs::canonicalize(target)?, path.join(link))?;
        }
        fs::write(path.join("initrd"), initrd).context("cannot write the initial RAM disk")?;
        Ok(Self::of_running(path))
    }

    /// The folder of a machine that runs.
    pub(crate) fn of_running(path: PathBuf) -> Self {
        Self {
            path,
            temporary: false,
        }
    }

    /// Removes the folder when this value goes.
    pub(crate) fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// QEMU's command line, to which the caller adds how it shall live.
    pub(crate) fn qemu(&self, accelerator: Accelerator) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        add(&["qemu-system-x86_64", "-name", "edgecloud-testbed"]);
        add(&accelerator.arguments());
        add(&[
            "-smp",
            "2",
            "-m",
            MEMORY,
            "-kernel",
            "xen",
            "-append",
            XEN_ARGUMENTS,
        ]);
        add(&["-initrd", &format!("vmlinuz {KERNEL_ARGUMENTS},initrd")]);
        add(&[
            "-drive",
            "file=disk.img,if=virtio,format=raw,snapshot=on,cache=unsafe",
        ]);
        add(&[
            "-nodefaults",
            "-nic",
            "none",
            "-display",
            "none",
            "-no-reboot",
        ]);
        add(&["-serial", "file:serial.log", "-device", "virtio-serial-pci"]);
        for index in 0..PORTS {
            add(&[
                "-chardev",
                &format!("socket,id=port{index},path=port{index},server=on,wait=off"),
            ]);
            let name = port_name(index);
            add(&[
                "-device",
                &format!("virtserialport,chardev=port{index},name={name}"),
            ]);
        }
        arguments
    }

    /// Opens a session on a free port.
    pub(crate) fn connect(&self, deadline: Instant) -> Result<(Connection, PortLock)> {
        for index in 0..PORTS {
            let lock = File::create(self.path.join(format!("port{index}.lock")))
                .context("cannot lock a port of the testbed")?;
            if lock.try_lock().is_ok() {
                let stream = self.open_port(index)?;
                let connection = Connection::open(stream, deadline)?;
                return Ok((connection, PortLock(lock)));
            }
        }
        bail!(
            "all {PORTS} connections to the testbed are in use: end one of the programs that use it"
        )
    }

    fn open_port(&self, index: usize) -> Result<UnixStream> {
        // A socket's address has room for 108 bytes, which the folder's path alone may take.
        let folder = File::open(&self.path).context("the machine has no folder")?;
        let path = format!("/proc/self/fd/{}/port{index}", folder.as_raw_fd());
        UnixStream::connect(path).context("cannot connect to the machine")
    }

    /// The last lines on the machine's serial console: Xen's and dom0's own.
    pub(crate) fn serial_tail(&self) -> String {
        let bytes = fs::read(self.path.join("serial.log")).unwrap_or_default();
        console::tail(&console::clean(&bytes), 30)
    }

    /// Adds what the machine said last to an error about it.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        anyhow!(
            "{error:#}\nthe last lines of the machine's console:\n{}",
            self.serial_tail()
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // If this fails, the next process that starts a machine removes it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Held by the process that uses a port; the kernel releases it with the process.
pub(crate) struct PortLock(#[expect(dead_code, reason = "its life is its use")] File);

/// A machine that ends when this is dropped, or when the process dies in any way.
pub(crate) struct Owned {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Owned {
    /// Starts QEMU; when this returns, its ports can be connected to.
    pub(crate) fn start(folder: &Folder, accelerator: Accelerator) -> Result<Self> {
        // The kernel sends the signal when the *thread* that started the process ends, so that
        // thread has to live as long as the machine.
        let mut command = program("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(folder.qemu(accelerator));
        command.args([
            "-chardev",
            "stdio,id=control",
            "-mon",
            "chardev=control,mode=control",
        ]);
        command.current_dir(folder.path());
        let (stop, stopped) = channel();
        let (started, starting) = channel();
        let keeper = std::thread::spawn(move || {
            let child = spawn(command);
            let mut child = match child {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(await_greeting(&mut child));
            // Ends with an error when the sender is dropped.
            let _ = stopped.recv();
            let _ = child.kill();
            let _ = child.wait();
        });
        let owned = Self {
            stop: Some(stop),
            keeper: Some(keeper),
        };
        starting
            .recv()
            .context("the thread that keeps QEMU ended")??;
        Ok(owned)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn spawn(mut command: Command) -> Result<Child> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start QEMU")
}

/// QEMU greets on its control channel once everything on its command line is set up.
fn await_greeting(child: &mut Child) -> Result<()> {
    let mut line = String::new();
    if let Some(stdout) = &mut child.stdout {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.contains("QMP") {
        return Ok(());
    }
    let mut wrote = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut wrote)?;
    }
    bail!("QEMU did not start: {}", wrote.trim());
}

/// Starts a machine that outlives the process, and says in `pid_file` which it is.
pub(crate) fn start_detached(
    folder: &Folder,
    accelerator: Accelerator,
    pid_file: &Path,
) -> Result<()> {
    let arguments = folder.qemu(accelerator);
    let mut command = program(&arguments[0]);
    command
        .args(&arguments[1..])
        .args(["-monitor", "none", "-daemonize", "-pidfile"]);
    host::run(command.arg(pid_file).current_dir(folder.path()))?;
    Ok(())
}
