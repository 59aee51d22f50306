//! Lines of a text, from 1.

/// The lines of places that come in order: each is counted from the one before. A file may have as many statements as it has lines, and to
/// count from the beginning for each would take the square of its length.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        Lines { text: text.as_bytes(), at: 0, line: 1 }
    }

    /// The line of a byte.
    pub(super) fn of(&mut self, byte: usize) -> u32 {
        if byte < self.at {
            (self.at, self.line) = (0, 1);
        }
        let end = byte.min(self.text.len());
        let between = self.text.get(self.at..end).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count() as u32;
        self.at = end;
        self.line
    }
}

/// The line of a character, counted from 1; 0 is unknown and gives the first line.
pub(super) fn line_of_char(text: &str, character: usize) -> u32 {
    1 + text.chars().take(character.saturating_sub(1)).filter(|c| *c == '\n').count() as u32
}
