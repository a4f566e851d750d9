//! Pictures of all formats, through the whole of [`thumbnail::picture`]. They are made here, by code.

mod made;

use std::cell::Cell;

use made::{Kind, exif, jpeg, picture};
use thumbnail::picture::{Alpha, Format, Limits, Picture, PictureError, Size, Stopped, Thumbnail};

fn sizes(texts: &[&str]) -> Vec<Size> {
    let size = |text: &&str| text.parse().expect("a size");
    texts.iter().map(size).collect()
}

fn thumbnails(bytes: &[u8], texts: &[&str]) -> Result<Vec<Thumbnail>, PictureError> {
    let sizes = sizes(texts);
    let picture = Picture::open(bytes, &sizes, &Limits::default())?;
    picture.thumbnails(&sizes, Alpha::Png, &|| Ok(()))
}

/// The pixels of a thumbnail, by other decoders' reckoning.
fn pixels(thumbnail: &Thumbnail) -> Vec<[u8; 4]> {
    match thumbnail.media_type {
        "image/jpeg" => {
            let mut decoder = jpeg_decoder::Decoder::new(thumbnail.bytes.as_slice());
            let rgb = decoder.decode().expect("a JPEG");
            let pixels = rgb.as_chunks::<3>().0.iter();
            pixels
                .map(|&[red, green, blue]| [red, green, blue, 255])
                .collect()
        }
        "image/png" => {
            let decoder = png::Decoder::new(std::io::Cursor::new(&thumbnail.bytes));
            let mut reader = decoder.read_info().expect("a PNG");
            let mut rgba = vec![0; reader.output_buffer_size().expect("a size")];
            reader.next_frame(&mut rgba).expect("a frame");
            rgba.as_chunks::<4>().0.to_vec()
        }
        other => panic!("{other}"),
    }
}

#[track_caller]
fn check_colour(pixel: [u8; 4], wanted: [u8; 4]) {
    let near = pixel.iter().zip(&wanted).all(|(a, b)| a.abs_diff(*b) <= 16);
    assert!(near, "{pixel:?} is not near {wanted:?}");
}

/// Every made picture is red, green, blue and white in its quarters.
#[track_caller]
fn check_quarters(thumbnail: &Thumbnail, wanted: [[u8; 4]; 4]) {
    let pixels = pixels(thumbnail);
    let (width, height) = (thumbnail.width as usize, thumbnail.height as usize);
    assert_eq!(pixels.len(), width * height);
    let at = |x: usize, y: usize| pixels[y * height / 4 * width + x * width / 4];
    for (pixel, wanted) in [at(1, 1), at(3, 1), at(1, 3), at(3, 3)]
        .into_iter()
        .zip(wanted)
    {
        check_colour(pixel, wanted);
    }
}

const RED: [u8; 4] = [255, 0, 0, 255];
const GREEN: [u8; 4] = [0, 255, 0, 255];
const BLUE: [u8; 4] = [0, 0, 255, 255];
const WHITE: [u8; 4] = [255, 255, 255, 255];
const QUARTERS: [[u8; 4]; 4] = [RED, GREEN, BLUE, WHITE];

#[test]
fn every_format_becomes_thumbnails_of_all_sizes_from_one_decode() {
    for kind in Kind::OPAQUE {
        let made = thumbnails(
            &picture(kind, 400, 300),
            &["big=200x200", "small=40x40", "square=64x64:crop"],
        );
        let made = made.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let edges: Vec<_> = made
            .iter()
            .map(|made| (made.name.as_str(), made.width, made.height))
            .collect();
        assert_eq!(
            edges,
            [("big", 200, 150), ("small", 40, 30), ("square", 64, 64)],
            "{kind:?}"
        );
        for made in &made {
            assert_eq!(made.media_type, "image/jpeg");
            check_quarters(made, QUARTERS);
        }
    }
}

#[test]
fn what_is_grey_stays_grey() {
    let made = thumbnails(&picture(Kind::JpegGrey, 320, 200), &["a=32x32"]).expect("made");
    check_quarters(
        &made[0],
        [
            [76, 76, 76, 255],
            [150, 150, 150, 255],
            [29, 29, 29, 255],
            WHITE,
        ],
    );
}

#[test]
fn ink_is_light_again() {
    let made = thumbnails(&picture(Kind::JpegCmyk, 320, 200), &["a=32x32"]).expect("made");
    check_quarters(&made[0], QUARTERS);
}

/// A transparent half does not bleed its hidden colour into the rest.
#[test]
fn alpha_stays_and_is_premultiplied() {
    for (kind, alpha, media_type) in [
        (Kind::PngAlpha, Alpha::Png, "image/png"),
        (Kind::WebPAlpha, Alpha::WebP, "image/webp"),
    ] {
        let sizes = sizes(&["a=31x31"]);
        let bytes = picture(kind, 200, 200);
        let opened = Picture::open(&bytes, &sizes, &Limits::default()).expect("opened");
        let made = opened.thumbnails(&sizes, alpha, &|| Ok(())).expect("made");
        assert_eq!(made[0].media_type, media_type);
        if alpha == Alpha::Png {
            let pixels = pixels(&made[0]);
            assert_eq!(pixels[0][3], 0);
            // Where both meet, the colour is that of the opaque half.
            for pixel in pixels.iter().filter(|pixel| pixel[3] > 40) {
                check_colour([pixel[0], pixel[1], pixel[2], 255], WHITE);
            }
        }
    }
}

#[test]
fn nothing_is_enlarged() {
    let made = thumbnails(&picture(Kind::Png, 60, 40), &["a=512x512"]).expect("made");
    assert_eq!((made[0].width, made[0].height), (60, 40));
    check_quarters(&made[0], QUARTERS);
}

#[test]
fn pictures_stand_upright_and_tell_nothing_else() {
    for (number, quarters) in [
        (1, QUARTERS),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ] {
        for kind in [Kind::Jpeg, Kind::Png, Kind::WebP] {
            let bytes = exif(kind, picture(kind, 320, 160), number);
            let made =
                thumbnails(&bytes, &["a=64x64"]).unwrap_or_else(|error| panic!("{kind:?} {error}"));
            let edges = if number < 5 { (64, 32) } else { (32, 64) };
            assert_eq!((made[0].width, made[0].height), edges, "{kind:?} {number}");
            check_quarters(&made[0], quarters);
            let holds = |what: &[u8]| {
                made[0]
                    .bytes
                    .windows(what.len())
                    .any(|window| window == what)
            };
            assert!(!holds(b"Exif") && !holds(made::SECRET), "{kind:?}");
        }
    }
}

#[test]
fn a_corrupt_exif_block_does_no_harm() {
    for cut in [4, 8, 12, 20] {
        let mut bytes = exif(Kind::Jpeg, picture(Kind::Jpeg, 100, 100), 6);
        bytes[12 + cut..12 + cut + 4].fill(0xff);
        let made = thumbnails(&bytes, &["a=50x50"]).expect("made");
        assert_eq!(made.len(), 1);
    }
}

#[test]
fn a_file_that_was_cut_shows_what_is_there() {
    for kind in [Kind::Jpeg, Kind::JpegProgressive, Kind::Png, Kind::Gif] {
        let bytes = made::noise(kind, 300, 300);
        let half = &bytes[..bytes.len() / 2];
        let made =
            thumbnails(half, &["a=60x60"]).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!((made[0].width, made[0].height), (60, 60));
    }
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    let bytes = made::noise(Kind::Jpeg, 300, 200);
    assert_eq!(
        thumbnails(&bytes, &["a=90x90"]),
        thumbnails(&bytes, &["a=90x90"])
    );
}

#[test]
fn what_is_no_picture_is_refused_with_a_reason() {
    assert_eq!(
        thumbnails(b"", &["a=9x9"]),
        Err(PictureError::UnknownFormat)
    );
    assert_eq!(
        thumbnails(b"\0\0\0\x18ftypheic", &["a=9x9"]),
        Err(PictureError::UnknownFormat)
    );
    assert!(matches!(
        thumbnails(b"\xff\xd8\xff\xd9", &["a=9x9"]),
        Err(PictureError::Broken(_))
    ));
    assert_eq!(Format::of(b"GIF89a"), Some(Format::Gif));
}

/// Heads that promise gigabytes are refused before anything is decoded.
#[test]
fn bombs_are_refused_by_their_heads() {
    for kind in [Kind::Png, Kind::Jpeg, Kind::Gif] {
        let bytes = made::claiming(kind, 60_000, 60_000);
        let refused = thumbnails(&bytes, &["a=9x9"]);
        assert_eq!(
            refused,
            Err(PictureError::TooManyPixels(3_600_000_000)),
            "{kind:?}"
        );
    }
    let bytes = picture(Kind::Png, 400, 300);
    let limits = Limits {
        memory_max: 1000,
        ..Limits::default()
    };
    let refused = Picture::open(&bytes, &sizes(&["a=9x9"]), &limits).err();
    assert!(
        matches!(refused, Some(PictureError::TooMuchMemory(_))),
        "{refused:?}"
    );
}

#[test]
fn decoding_pauses_often_and_stops_when_it_is_told() {
    for kind in [
        Kind::Jpeg,
        Kind::JpegProgressive,
        Kind::Png,
        Kind::PngInterlaced,
        Kind::Gif,
        Kind::GifInterlaced,
        Kind::WebP,
    ] {
        let bytes = made::noise(kind, 600, 600);
        let sizes = sizes(&["a=100x100"]);
        let picture = Picture::open(&bytes, &sizes, &Limits::default()).expect("opened");
        let calls = Cell::new(0);
        let count = || {
            calls.set(calls.get() + 1);
            Ok(())
        };
        picture
            .thumbnails(&sizes, Alpha::Png, &count)
            .expect("made");
        assert!(calls.get() > 4, "{kind:?}: {} pauses", calls.get());
        for after in (0..calls.get()).step_by(7) {
            let left = Cell::new(after);
            let stop = || match left.get() {
                0 => Err(Stopped),
                more => {
                    left.set(more - 1);
                    Ok(())
                }
            };
            let stopped = picture.thumbnails(&sizes, Alpha::Png, &stop);
            assert_eq!(
                stopped,
                Err(PictureError::Stopped),
                "{kind:?} after {after}"
            );
        }
    }
}

/// Spoilt in a hundred places each: anything may come of it but a panic that is not caught.
#[test]
fn spoilt_pictures_are_errors_or_pictures() {
    let mut random = made::Random(1);
    for kind in Kind::OPAQUE {
        let whole = picture(kind, 80, 60);
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            let _ = thumbnails(&bytes, &["a=20x20"]);
        }
    }
}

#[test]
fn progressive_is_as_good_as_baseline() {
    let baseline = thumbnails(&jpeg(400, 300, false), &["a=80x80"]).expect("made");
    let progressive = thumbnails(&jpeg(400, 300, true), &["a=80x80"]).expect("made");
    assert_eq!(baseline, progressive);
}
