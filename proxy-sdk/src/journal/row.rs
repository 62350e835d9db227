//! How keys and values of rows are written: numbers and texts one after the other.
//!
//! Numbers are big-endian, so that keys sort by them; texts and bytes have their length before them. What a row is made of
//! is its owner's; a change of it needs another schema.

use bytes::Bytes;

/// Writes a key or a value.
#[derive(Clone, Debug, Default)]
pub struct RowWriter(Vec<u8>);

/// Reads a key or a value in the order it was written.
#[derive(Clone, Debug)]
pub struct RowReader(Bytes);

/// A row that is not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row is not what this version writes")]
pub struct BadRow;

impl RowWriter {
    /// Begins with room for so many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Writes one byte.
    #[must_use]
    pub fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Writes a number of 16 bits.
    #[must_use]
    pub fn short(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Writes a number of 64 bits.
    #[must_use]
    pub fn number(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Writes bytes with their length.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut longer = self.number(value.len() as u64);
        longer.0.extend_from_slice(value);
        longer
    }

    /// Writes a text with its length.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// Writes a list, each with the function given.
    #[must_use]
    pub fn list<T>(self, values: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        values.iter().fold(self.number(values.len() as u64), write)
    }

    /// Writes what comes last, without its length.
    #[must_use]
    pub fn rest(mut self, value: &[u8]) -> Bytes {
        self.0.extend_from_slice(value);
        self.end()
    }

    /// Ends it.
    #[must_use]
    pub fn end(self) -> Bytes {
        Bytes::from(self.0)
    }
}

impl RowReader {
    /// Begins to read.
    #[must_use]
    pub fn of(row: &Bytes) -> Self {
        Self(row.clone())
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// The row is shorter.
    pub fn byte(&mut self) -> Result<u8, BadRow> {
        self.take(1)?.first().copied().ok_or(BadRow)
    }

    /// Reads a number of 16 bits.
    ///
    /// # Errors
    /// The row is shorter.
    pub fn short(&mut self) -> Result<u16, BadRow> {
        self.take(2)?.as_ref().try_into().map(u16::from_be_bytes).map_err(|_| BadRow)
    }

    /// Reads a number of 64 bits.
    ///
    /// # Errors
    /// The row is shorter.
    pub fn number(&mut self) -> Result<u64, BadRow> {
        self.take(8)?.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| BadRow)
    }

    /// Reads bytes, which share the row's.
    ///
    /// # Errors
    /// The row is shorter.
    pub fn bytes(&mut self) -> Result<Bytes, BadRow> {
        let length = usize::try_from(self.number()?).map_err(|_| BadRow)?;
        self.take(length)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// The row is shorter, or it is no text.
    pub fn text(&mut self) -> Result<String, BadRow> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| BadRow)
    }

    /// Reads a list, each with the function given.
    ///
    /// # Errors
    /// Those of the function, or the row is shorter.
    pub fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, BadRow>) -> Result<Vec<T>, BadRow> {
        (0..self.number()?).map(|_| read(self)).collect()
    }

    /// Reads what is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Tells whether all is read.
    ///
    /// # Errors
    /// Something is left.
    pub fn end(self) -> Result<(), BadRow> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRow) }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, BadRow> {
        if length > self.0.len() {
            return Err(BadRow);
        }
        Ok(self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_the_same_order() {
        let row =
            RowWriter::default().byte(7).short(8).number(9).text("ü").list(&["a", "b"], |row, name| row.text(name));
        let row = row.rest(b"rest");
        let mut reader = RowReader::of(&row);
        assert_eq!((reader.byte(), reader.short(), reader.number()), (Ok(7), Ok(8), Ok(9)));
        assert_eq!(reader.text().as_deref(), Ok("ü"));
        assert_eq!(reader.list(RowReader::text), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(reader.clone().end(), Err(BadRow));
        assert_eq!(reader.rest().as_ref(), b"rest");
    }

    #[test]
    fn a_row_that_is_cut_is_bad_wherever_it_is_cut() {
        let row = RowWriter::default().number(1).text("name").end();
        for length in 0..row.len() {
            let mut reader = RowReader::of(&row.slice(..length));
            assert_eq!(reader.number().and_then(|_| reader.text()), Err(BadRow), "{length}");
        }
    }

    #[test]
    fn a_length_beyond_the_row_takes_no_memory() {
        let row = RowWriter::default().number(u64::MAX).end();
        assert_eq!(RowReader::of(&row).bytes(), Err(BadRow));
        assert_eq!(RowReader::of(&row).list(RowReader::byte), Err(BadRow));
    }
}
