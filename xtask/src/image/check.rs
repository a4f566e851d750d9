//! Whether an ELF file would boot as a Xen PVH guest, read as the domain builder reads it: program
//! headers and the note count, sections do not. Nothing in the file is believed before it is checked.

use std::fmt;

use object::LittleEndian as LE;
use object::elf::{
    EM_X86_64, ET_EXEC, FileHeader64, NoteType, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD,
    PT_NOTE, ProgramFlags, ProgramHeader64,
};
use object::read::elf::{FileHeader, ProgramHeader};

/// `XEN_ELFNOTE_PHYS32_ENTRY` (xen/include/public/elfnote.h): where a PVH guest begins.
const PHYS32_ENTRY: NoteType = NoteType(18);
const NOTE_OWNER: &[u8] = b"Xen";
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What a program needs beside its image: page tables, a stack, a heap worth the name.
const WORKING_MEMORY: u64 = MIB;

/// What an image puts where, once it is known to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the guest begins, a physical address.
    pub(super) entry: u32,
    /// In bytes, as all sizes here.
    pub(super) text: u64,
    pub(super) rodata: u64,
    pub(super) data: u64,
    /// Memory that is cleared and takes no room in the file.
    pub(super) bss: u64,
    /// The size of the file.
    pub(super) file: u64,
    /// The end of the last segment, a physical address.
    end: u64,
}

impl Layout {
    /// Whether a domain of this size holds the image, with something left to work with.
    pub(super) fn fits(&self, memory_mib: u32) -> Result<(), Refusal> {
        let needed = self.end.saturating_add(WORKING_MEMORY);
        if needed <= u64::from(memory_mib) * MIB {
            return Ok(());
        }
        Err(Refusal::TooLarge {
            memory_mib,
            needed_mib: needed.div_ceil(MIB),
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout {
            entry,
            text,
            rodata,
            data,
            bss,
            file,
            end: _,
        } = self;
        write!(
            f,
            "{file} bytes (text {text}, rodata {rodata}, data {data}, bss {bss}), entry at {entry:#x}"
        )
    }
}

/// Why a file would not boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotElf,
    WrongMachine,
    NotStatic,
    Truncated { what: &'static str },
    NoSegments,
    Misplaced { address: u64 },
    Overlapping { address: u64 },
    WritableCode { address: u64 },
    NoNote,
    MalformedNote,
    EntryOutsideText { entry: u32 },
    TooLarge { memory_mib: u32, needed_mib: u64 },
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotElf => write!(
                f,
                "it is no 64-bit little-endian ELF file. Build it with `cargo xtask image`"
            ),
            Refusal::WrongMachine => write!(
                f,
                "it is not for x86-64. Build it for {}",
                super::tools::TARGET
            ),
            Refusal::NotStatic => write!(
                f,
                "it is position-independent or needs a dynamic loader, and a domain has none. \
                 It is a Linux program: build it with `cargo xtask image`"
            ),
            Refusal::Truncated { what } => {
                write!(
                    f,
                    "{what} lies beyond the end of the file: it was truncated. Copy or build it again"
                )
            }
            Refusal::NoSegments => write!(f, "it has nothing to load. Build it again"),
            Refusal::Misplaced { address } => write!(
                f,
                "the segment at {address:#x} does not start at a page, has no room, or differs from its physical address. \
                 Link it with runtime/link.ld"
            ),
            Refusal::Overlapping { address } => {
                write!(
                    f,
                    "the segment at {address:#x} begins before the one before it ends. Link it with runtime/link.ld"
                )
            }
            Refusal::WritableCode { address } => write!(
                f,
                "the segment at {address:#x} is writable and executable, so a stray write could become code. \
                 Link it with runtime/link.ld"
            ),
            Refusal::NoNote => write!(
                f,
                "it has no Xen note with a PVH entry point (xl would say \"no loader found\"). \
                 It was not linked with the runtime: build it with `cargo xtask image`"
            ),
            Refusal::MalformedNote => write!(f, "its notes are malformed. Copy or build it again"),
            Refusal::EntryOutsideText { entry } => {
                write!(
                    f,
                    "its entry point {entry:#x} lies in no executable segment. Link it with runtime/link.ld"
                )
            }
            Refusal::TooLarge {
                memory_mib,
                needed_mib,
            } => write!(
                f,
                "it needs {needed_mib} MiB to start, and its domain has {memory_mib}. \
                 Give it more (memory-mib in images/NAME.toml, memory= in NAME.cfg), or make the program's static data smaller"
            ),
        }
    }
}

type Segment = ProgramHeader64<LE>;

fn has(segment: &Segment, flag: ProgramFlags) -> bool {
    segment.p_flags(LE).contains(flag)
}

/// Reads an image.
pub(super) fn check(bytes: &[u8]) -> Result<Layout, Refusal> {
    let segments = segments(bytes)?;
    let loaded: Vec<&Segment> = segments
        .iter()
        .filter(|segment| segment.p_type(LE) == PT_LOAD)
        .collect();
    check_placement(bytes, &loaded)?;
    let entry = entry(bytes, segments)?;
    let holds_entry = |segment: &&&Segment| {
        let file_end = segment.p_paddr(LE) + segment.p_filesz(LE);
        has(segment, PF_X) && (segment.p_paddr(LE)..file_end).contains(&u64::from(entry))
    };
    if loaded.iter().filter(holds_entry).count() == 0 {
        return Err(Refusal::EntryOutsideText { entry });
    }
    Ok(layout(bytes, &loaded, entry))
}

fn segments(bytes: &[u8]) -> Result<&[Segment], Refusal> {
    let header = FileHeader64::<LE>::parse(bytes).map_err(|_| Refusal::NotElf)?;
    // `parse` has seen the magic number only; the class and byte order are ours to compare.
    header.endian().map_err(|_| Refusal::NotElf)?;
    if !header.is_supported() || !header.is_little_endian() {
        return Err(Refusal::NotElf);
    }
    if header.e_machine(LE) != EM_X86_64 {
        return Err(Refusal::WrongMachine);
    }
    let segments = header
        .program_headers(LE, bytes)
        .map_err(|_| Refusal::Truncated {
            what: "the table of segments",
        })?;
    let for_loader = |segment: &Segment| matches!(segment.p_type(LE), PT_INTERP | PT_DYNAMIC);
    if header.e_type(LE) != ET_EXEC || segments.iter().any(for_loader) {
        return Err(Refusal::NotStatic);
    }
    Ok(segments)
}

fn check_placement(bytes: &[u8], loaded: &[&Segment]) -> Result<(), Refusal> {
    if loaded.is_empty() {
        return Err(Refusal::NoSegments);
    }
    let mut free_from = 0;
    for segment in loaded {
        let address = segment.p_paddr(LE);
        segment
            .data(LE, bytes)
            .map_err(|()| Refusal::Truncated { what: "a segment" })?;
        let end = address
            .checked_add(segment.p_memsz(LE))
            .filter(|end| *end <= u64::from(u32::MAX));
        let end = end.ok_or(Refusal::Misplaced { address })?;
        let crowded = segment.p_filesz(LE) > segment.p_memsz(LE);
        if address % PAGE != 0 || address != segment.p_vaddr(LE) || crowded {
            return Err(Refusal::Misplaced { address });
        }
        if address < free_from {
            return Err(Refusal::Overlapping { address });
        }
        if has(segment, PF_W) && has(segment, PF_X) {
            return Err(Refusal::WritableCode { address });
        }
        free_from = end;
    }
    Ok(())
}

/// The entry point that the Xen note names.
fn entry(bytes: &[u8], segments: &[Segment]) -> Result<u32, Refusal> {
    for segment in segments
        .iter()
        .filter(|segment| segment.p_type(LE) == PT_NOTE)
    {
        let notes = segment
            .notes(LE, bytes)
            .map_err(|_| Refusal::MalformedNote)?;
        let Some(mut notes) = notes else { continue };
        while let Some(note) = notes.next().map_err(|_| Refusal::MalformedNote)? {
            if note.name() == NOTE_OWNER && note.n_type(LE) == PHYS32_ENTRY {
                let descriptor = note.desc().try_into().map_err(|_| Refusal::MalformedNote)?;
                return Ok(u32::from_le_bytes(descriptor));
            }
        }
    }
    Err(Refusal::NoNote)
}

fn layout(bytes: &[u8], loaded: &[&Segment], entry: u32) -> Layout {
    let mut layout = Layout {
        entry,
        text: 0,
        rodata: 0,
        data: 0,
        bss: 0,
        file: bytes.len() as u64,
        end: 0,
    };
    for segment in loaded {
        let part = if has(segment, PF_X) {
            &mut layout.text
        } else if has(segment, PF_W) {
            &mut layout.data
        } else {
            &mut layout.rodata
        };
        *part += segment.p_filesz(LE);
        layout.bss += segment.p_memsz(LE) - segment.p_filesz(LE);
        layout.end = segment.p_paddr(LE) + segment.p_memsz(LE);
    }
    layout
}

#[cfg(test)]
mod tests {
    use object::elf::ProgramType;

    use super::*;

    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    const BASE: u64 = 0x20_0000;

    /// A program header in the order of the ELF specification.
    fn segment(
        kind: ProgramType,
        flags: u32,
        offset: u64,
        address: u64,
        file_size: u64,
        memory_size: u64,
    ) -> Vec<u8> {
        let mut bytes = [kind.0.to_le_bytes(), flags.to_le_bytes()].concat();
        let align = if kind == PT_NOTE { 4 } else { PAGE };
        for word in [offset, address, address, file_size, memory_size, align] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    fn elf(segments: &[Vec<u8>], body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend([2u16, 62].iter().flat_map(|half| half.to_le_bytes())); // ET_EXEC, EM_X86_64
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(
            [BASE, HEADER as u64, 0]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        bytes.extend(0u32.to_le_bytes());
        let sizes = [
            HEADER as u16,
            PROGRAM_HEADER as u16,
            segments.len() as u16,
            64,
            0,
            0,
        ];
        bytes.extend(sizes.iter().flat_map(|half| half.to_le_bytes()));
        bytes.extend(segments.concat());
        bytes.resize(512, 0);
        bytes.extend(body);
        bytes
    }

    fn note(owner: &[u8], kind: NoteType, descriptor: &[u8]) -> Vec<u8> {
        let sizes = [owner.len() as u32, descriptor.len() as u32, kind.0];
        let mut bytes: Vec<u8> = sizes.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(owner);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(descriptor);
        bytes
    }

    fn text() -> Vec<u8> {
        segment(PT_LOAD, 5, 512, BASE, 128, 128)
    }

    fn data() -> Vec<u8> {
        segment(PT_LOAD, 6, 512, BASE + PAGE, 16, 0x3000)
    }

    fn with_note(note: &[u8]) -> Vec<u8> {
        let at = segment(PT_NOTE, 4, 512, BASE, note.len() as u64, note.len() as u64);
        let mut body = note.to_vec();
        body.resize(128, 0);
        elf(&[text(), data(), at], &body)
    }

    fn good() -> Vec<u8> {
        with_note(&note(
            b"Xen\0",
            PHYS32_ENTRY,
            &(BASE as u32 + 8).to_le_bytes(),
        ))
    }

    fn good_with(segments: &[Vec<u8>]) -> Vec<u8> {
        let note = note(b"Xen\0", PHYS32_ENTRY, &(BASE as u32 + 8).to_le_bytes());
        let at = segment(PT_NOTE, 4, 512, BASE, note.len() as u64, note.len() as u64);
        let mut body = note;
        body.resize(128, 0);
        elf(&[segments, &[at]].concat(), &body)
    }

    #[track_caller]
    fn refused(bytes: &[u8], refusal: Refusal) {
        assert_eq!(check(bytes), Err(refusal));
    }

    #[test]
    fn an_image_is_measured() {
        let bytes = good();
        let layout = check(&bytes).expect("boots");
        assert_eq!(
            layout,
            Layout {
                entry: BASE as u32 + 8,
                text: 128,
                rodata: 0,
                data: 16,
                bss: 0x3000 - 16,
                file: bytes.len() as u64,
                end: BASE + PAGE + 0x3000,
            }
        );
        assert_eq!(layout.fits(4), Ok(()));
        assert_eq!(
            layout.fits(3),
            Err(Refusal::TooLarge {
                memory_mib: 3,
                needed_mib: 4
            })
        );
    }

    #[test]
    fn what_is_no_image_is_refused() {
        refused(b"", Refusal::NotElf);
        refused(b"#!/bin/sh\n", Refusal::NotElf);
        refused(&good()[..40], Refusal::NotElf);
        let change = |at: usize, value: u8| {
            let mut bytes = good();
            bytes[at] = value;
            bytes
        };
        refused(&change(4, 1), Refusal::NotElf); // 32-bit
        refused(&change(5, 2), Refusal::NotElf); // big-endian
        refused(&change(18, 183), Refusal::WrongMachine); // AArch64
        refused(&change(16, 3), Refusal::NotStatic); // ET_DYN
    }

    #[test]
    fn what_was_cut_short_is_refused() {
        refused(
            &good()[..HEADER + 20],
            Refusal::Truncated {
                what: "the table of segments",
            },
        );
        refused(&good()[..600], Refusal::Truncated { what: "a segment" });
    }

    #[test]
    fn a_note_must_be_there_and_right() {
        refused(&elf(&[text()], &[0; 128]), Refusal::NoNote);
        refused(
            &with_note(&note(b"GNU\0", PHYS32_ENTRY, &[0; 4])),
            Refusal::NoNote,
        );
        refused(
            &with_note(&note(b"Xen\0", NoteType(17), &[0; 4])),
            Refusal::NoNote,
        );
        refused(
            &with_note(&note(b"Xen\0", PHYS32_ENTRY, &[0; 8])),
            Refusal::MalformedNote,
        );
        refused(&with_note(&[0xff; 20]), Refusal::MalformedNote);
        let outside = BASE as u32 + 128;
        let bytes = with_note(&note(b"Xen\0", PHYS32_ENTRY, &outside.to_le_bytes()));
        refused(&bytes, Refusal::EntryOutsideText { entry: outside });
    }

    #[test]
    fn segments_must_be_apart_and_not_both_writable_and_executable() {
        refused(&good_with(&[]), Refusal::NoSegments);
        refused(
            &good_with(&[segment(PT_LOAD, 7, 512, BASE, 128, 128)]),
            Refusal::WritableCode { address: BASE },
        );
        refused(
            &good_with(&[text(), text()]),
            Refusal::Overlapping { address: BASE },
        );
        let misplaced = [
            segment(PT_LOAD, 5, 512, BASE + 1, 128, 128),
            segment(PT_LOAD, 5, 512, BASE, 128, 64),
            segment(PT_LOAD, 5, 512, u64::MAX - 4095, 128, 8192),
        ];
        for (segment, address) in misplaced.into_iter().zip([BASE + 1, BASE, u64::MAX - 4095]) {
            refused(&good_with(&[segment]), Refusal::Misplaced { address });
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic() {
        let good = good();
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                // Most changes are harmless or refused; which of the two is not the point here.
                if let Ok(layout) = check(&bytes) {
                    assert!(layout.end <= u64::from(u32::MAX), "byte {at} = {value}");
                }
            }
        }
    }
}
