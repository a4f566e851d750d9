//! Initial RAM disks: archives in the kernel's "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: 0,
        }
    }

    /// Adds a folder; those above it must be there already.
    pub(crate) fn folder(mut self, path: &str) -> Self {
        self.entry(path, 0o040_755, &[]);
        self
    }

    /// Adds a program.
    pub(crate) fn program(mut self, path: &str, content: &[u8]) -> Self {
        self.entry(path, 0o100_755, content);
        self
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let header = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time: 0, so that equal content makes equal archives
            content.len() as u32,
            0, // device
            0,
            0, // device of a special file
            0,
            path.len() as u32 + 1,
            0, // checksum, unused in this form
        ];
        self.bytes.extend(b"070701");
        for field in header {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_archive_of_known_bytes() {
        let archive = Archive::new().program("a", b"hello").finish();
        assert!(archive.starts_with(b"070701" as &[u8]));
        assert_eq!(&archive[6..22], b"00000001000081ed");
        assert_eq!(&archive[54..62], b"00000005");
        assert_eq!(&archive[110..126], b"a\0hello\0\0\x00070701");
        assert_eq!(archive.len() % 4, 0);
    }

    /// Somebody else's reader, where there is one.
    #[test]
    fn cpio_lists_it() {
        let archive = Archive::new()
            .folder("bin")
            .program("bin/sh", b"#!")
            .finish();
        let child = Command::new("cpio")
            .arg("-t")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return };
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"bin\nbin/sh\n");
    }
}
