//! Consistent overhead byte stuffing (Cheshire and Baker, 1999): frames without a zero byte in
//! them, ended by one. Whatever was lost before a zero, the next frame starts right behind it.

/// The byte between frames.
pub const DELIMITER: u8 = 0;

/// A run of this many bytes without a zero has no zero behind it.
const FULL_RUN: usize = 254;

/// Appends `payload` as one frame, with its delimiter.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len_max(payload.len()));
    for segment in payload.split(|&byte| byte == DELIMITER) {
        let mut rest = segment;
        while rest.len() >= FULL_RUN {
            let (run, tail) = rest.split_at(FULL_RUN);
            out.push(u8::MAX);
            out.extend_from_slice(run);
            rest = tail;
        }
        out.push(rest.len() as u8 + 1);
        out.extend_from_slice(rest);
    }
    out.push(DELIMITER);
}

/// The most bytes that [`encode`] makes of a payload.
pub const fn encoded_len_max(payload: usize) -> usize {
    payload + payload / FULL_RUN + 2
}

/// Finds the frames in a stream of bytes.
pub struct Decoder {
    encoded: Vec<u8>,
    limit: usize,
    /// More than the limit came without a delimiter: nothing is kept until the next one.
    skipping: bool,
}

impl Decoder {
    /// A decoder for payloads of at most `payload_max` bytes; a longer frame is dropped.
    pub fn new(payload_max: usize) -> Self {
        Self {
            encoded: Vec::new(),
            limit: encoded_len_max(payload_max),
            skipping: false,
        }
    }

    /// Takes more of the stream and calls `frame` with each payload that became complete. A frame
    /// that cannot be decoded is dropped: it is the rest of somebody's broken connection.
    pub fn push(&mut self, mut bytes: &[u8], mut frame: impl FnMut(Vec<u8>)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == DELIMITER) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            if !self.skipping
                && !self.encoded.is_empty()
                && let Some(payload) = decode(&self.encoded)
            {
                frame(payload);
            }
            self.reset();
        }
        self.keep(bytes);
    }

    /// Forgets an unfinished frame.
    pub fn reset(&mut self) {
        self.encoded.clear();
        self.skipping = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.skipping |= self.encoded.len() + bytes.len() > self.limit;
        if !self.skipping {
            self.encoded.extend_from_slice(bytes);
        }
    }
}

/// The payload of a frame without its delimiter, or nothing if it is no frame.
fn decode(mut encoded: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(encoded.len());
    while let Some((&code, rest)) = encoded.split_first() {
        let run = usize::from(code).checked_sub(1)?;
        payload.extend_from_slice(rest.get(..run)?);
        encoded = &rest[run..];
        if run < FULL_RUN && !encoded.is_empty() {
            payload.push(DELIMITER);
        }
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], encoded: &[u8]) {
        let mut out = Vec::new();
        encode(payload, &mut out);
        assert_eq!(out, encoded, "encoding of {payload:02x?}");
        assert_eq!(frames(8 * 1024, &[&out]), [payload]);
    }

    fn frames(limit: usize, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            decoder.push(piece, |payload| found.push(payload));
        }
        found
    }

    /// The examples of the paper's successor texts: each zero becomes the distance to the next.
    #[test]
    fn known_frames() {
        check(&[0], &[1, 1, 0]);
        check(&[0, 0], &[1, 1, 1, 0]);
        check(&[0x11, 0x22, 0, 0x33], &[3, 0x11, 0x22, 2, 0x33, 0]);
        check(&[0x11, 0, 0, 0], &[2, 0x11, 1, 1, 1, 0]);
    }

    #[test]
    fn every_length_around_a_full_run() {
        for len in 1..3 * FULL_RUN + 3 {
            for zero in [None, Some(0), Some(len / 2), Some(len - 1)] {
                let mut payload: Vec<u8> = (0..len).map(|i| (i % 255) as u8 + 1).collect();
                if let Some(zero) = zero {
                    payload[zero] = 0;
                }
                let mut out = Vec::new();
                encode(&payload, &mut out);
                assert!(out.len() <= encoded_len_max(len));
                assert!(!out[..out.len() - 1].contains(&DELIMITER));
                assert_eq!(frames(len, &[&out]), [payload]);
            }
        }
    }

    #[test]
    fn a_stream_cut_anywhere() {
        let mut stream = Vec::new();
        encode(b"one\0two", &mut stream);
        encode(&[7; 600], &mut stream);
        for cut in 0..stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(
                frames(600, &[head, tail]),
                [b"one\0two".to_vec(), vec![7; 600]]
            );
        }
    }

    #[test]
    fn a_frame_after_the_rest_of_a_broken_one() {
        let mut whole = Vec::new();
        encode(b"whole", &mut whole);
        let broken: &[u8] = &[9, 1, 2, 3];
        assert_eq!(frames(600, &[broken, &[DELIMITER], &whole]), [b"whole"]);
    }

    #[test]
    fn a_frame_over_the_limit_is_dropped_and_the_next_one_found() {
        let mut stream = Vec::new();
        encode(&[7; 700], &mut stream);
        encode(b"next", &mut stream);
        assert_eq!(frames(16, &[&stream]), [b"next"]);
    }
}
