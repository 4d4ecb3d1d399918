//! Rows of a text result, read whole: for the proxy's own questions.
//!
//! Owns the layout of column names and of rows in text. Results for clients never come here.

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader};
use super::{ColumnCount, EofPacket, ErrPacket, OkPacket, ResponseError};

/// One row: each column's name and value.
pub type TextRow = Vec<(String, Option<Vec<u8>>)>;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextAnswer {
    /// It has no rows.
    Ok(OkPacket),
    /// It was refused.
    Err(ErrPacket),
    /// It has these.
    Rows(Vec<TextRow>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    First,
    Columns(u64),
    ColumnsEnd,
    Rows,
}

/// Reads the answer to one statement, packet by packet.
#[derive(Debug)]
pub struct TextReader {
    capabilities: Capabilities,
    expected: Expected,
    names: Vec<String>,
    rows: Vec<TextRow>,
}

/// More are not read: the proxy asks for a few.
const MAX_COLUMNS: u64 = 4096;

impl TextReader {
    /// Of an answer on a connection with `capabilities`.
    pub fn new(capabilities: Capabilities) -> Self {
        Self { capabilities, expected: Expected::First, names: Vec::new(), rows: Vec::new() }
    }

    /// Takes the payload of the next packet; the answer when it was the last one.
    pub fn packet(&mut self, payload: &[u8]) -> Result<Option<TextAnswer>, ResponseError> {
        let first = *payload.first().ok_or(ResponseError::Empty)?;
        match (self.expected, first) {
            (_, ErrPacket::MARKER) => Ok(Some(TextAnswer::Err(ErrPacket::parse(payload)?))),
            (Expected::First, OkPacket::OK) => {
                Ok(Some(TextAnswer::Ok(OkPacket::parse(payload, self.capabilities)?)))
            }
            (Expected::First, _) => {
                let count = ColumnCount::parse(payload, self.capabilities)?;
                if !count.metadata_follows || count.columns > MAX_COLUMNS {
                    return Err(ResponseError::Unexpected(first));
                }
                self.expected = Expected::Columns(count.columns);
                Ok(None)
            }
            (Expected::Columns(left), _) => {
                self.names.push(column_name(payload)?);
                self.expected = match (left, self.capabilities.contains(Capabilities::DEPRECATE_EOF)) {
                    (0 | 1, true) => Expected::Rows,
                    (0 | 1, false) => Expected::ColumnsEnd,
                    (left, _) => Expected::Columns(left.saturating_sub(1)),
                };
                Ok(None)
            }
            (Expected::ColumnsEnd, _) => {
                self.expected = Expected::Rows;
                Ok(None)
            }
            (Expected::Rows, EofPacket::MARKER) if payload.len() < super::super::packet::MAX_PACKET => {
                Ok(Some(TextAnswer::Rows(std::mem::take(&mut self.rows))))
            }
            (Expected::Rows, _) => {
                let mut reader = Reader::new(payload);
                let values = self.names.iter().map(|name| Ok((name.clone(), value(&mut reader)?)));
                self.rows.push(values.collect::<Result<_, ReadError>>()?);
                Ok(None)
            }
        }
    }
}

/// MySQL protocol: Column Definition; the alias is the fifth of its strings.
fn column_name(payload: &[u8]) -> Result<String, ReadError> {
    let mut reader = Reader::new(payload);
    for _ in 0..4 {
        reader.lenenc_bytes()?;
    }
    Ok(String::from_utf8_lossy(reader.lenenc_bytes()?).into_owned())
}

fn value(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, ReadError> {
    const NULL: u8 = 0xfb;
    if reader.peek() == Some(NULL) {
        reader.u8()?;
        return Ok(None);
    }
    reader.lenenc_bytes().map(|bytes| Some(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::super::super::packet::Writer;
    use super::*;

    fn column(name: &str) -> Vec<u8> {
        let mut writer = Writer::new();
        for text in ["def", "", "", ""] {
            writer.lenenc_bytes(text.as_bytes());
        }
        writer.lenenc_bytes(name.as_bytes()).lenenc_bytes(b"").zeros(13);
        writer.finish()
    }

    fn read(capabilities: Capabilities, packets: &[Vec<u8>]) -> Option<TextAnswer> {
        let mut reader = TextReader::new(capabilities);
        packets.iter().find_map(|packet| reader.packet(packet).expect("understood"))
    }

    #[test]
    fn rows_are_read_with_and_without_an_end_of_columns() {
        let row = [b"\x011".to_vec(), b"\xfb".to_vec()].concat();
        let expected = vec![("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)];
        let eof = vec![0xfe, 0, 0, 2, 0];
        let ok = vec![0xfe, 0, 0, 2, 0, 0, 0];
        let short = [vec![2], column("a"), column("b"), eof.clone(), row.clone(), eof];
        assert_eq!(read(Capabilities::default(), &short), Some(TextAnswer::Rows(vec![expected.clone()])));
        let new = [vec![2], column("a"), column("b"), row, ok];
        assert_eq!(read(Capabilities::DEPRECATE_EOF, &new), Some(TextAnswer::Rows(vec![expected])));
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error_and_no_panic() {
        let mut reader = TextReader::new(Capabilities::DEPRECATE_EOF);
        assert!(reader.packet(&[]).is_err());
        assert!(reader.packet(&[1]).expect("a count").is_none());
        assert!(reader.packet(&[3, b'd']).is_err());
    }
}
