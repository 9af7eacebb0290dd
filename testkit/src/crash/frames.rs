//! Kafka's frames as they go by: where each begins and ends, and its first bytes.

/// As much of a frame as is kept: a request's header up to its correlation id, an answer's up to a Heartbeat's error code.
const HEAD: usize = 16;

/// What a stretch of bytes contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A frame's first bytes are there; what is missing is zero.
    Head([u8; HEAD]),
    /// A frame's last byte is there; again with its first ones.
    End([u8; HEAD]),
}

/// Finds frames in bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    /// The length and the first bytes, as far as they came.
    begun: Vec<u8>,
    /// Bytes of the frame that are still to come, once its length is known.
    left: usize,
}

impl Frames {
    /// Looks through the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Part)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.begun.len() < 4 {
                self.begun.push(byte);
                rest = after;
                if let Some(length) = self.begun.first_chunk::<4>() {
                    self.left = i32::from_be_bytes(*length).max(0) as usize;
                    self.end_if_over(&mut found);
                }
                continue;
            }
            let taken = rest.len().min(self.left);
            let wanted = (4 + HEAD).saturating_sub(self.begun.len()).min(taken);
            let had = self.begun.len() - 4;
            self.begun.extend_from_slice(&rest[..wanted]);
            self.left -= taken;
            rest = &rest[taken..];
            if had < HEAD && (self.begun.len() == 4 + HEAD || self.left == 0) {
                found(Part::Head(self.head()));
            }
            self.end_if_over(&mut found);
        }
    }

    fn end_if_over(&mut self, found: &mut impl FnMut(Part)) {
        if self.left == 0 {
            found(Part::End(self.head()));
            self.begun.clear();
        }
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let begun = &self.begun[4..];
        head[..begun.len()].copy_from_slice(begun);
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    fn head(body: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let length = body.len().min(HEAD);
        head[..length].copy_from_slice(&body[..length]);
        head
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let bodies: Vec<Vec<u8>> = [1, 15, 16, 17, 400, 3]
            .iter()
            .map(|length| (0..*length as u8 as usize).map(|at| at as u8 + 1).collect())
            .collect();
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for piece in [1, 2, 3, 5, 7, 16, 19, 64, bytes.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for bytes in bytes.chunks(piece) {
                frames.feed(bytes, |part| found.push(part));
            }
            let expected: Vec<_> = bodies
                .iter()
                .flat_map(|body| [Part::Head(head(body)), Part::End(head(body))])
                .collect();
            assert_eq!(found, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn an_empty_frame_only_ends() {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        frames.feed(&[0, 0, 0, 0], |part| found.push(part));
        assert_eq!(found, [Part::End([0; HEAD])]);
    }
}
