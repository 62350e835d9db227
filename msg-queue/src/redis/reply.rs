//! Reading answers as they come, without a map per entry: every value is moved, never copied.

use ::redis::Value;
use bytes::Bytes;
use gim_proto::{EntryId, Fields};

use super::trouble::Trouble;

/// Takes a list.
pub(super) fn list(value: Value, what: &'static str) -> Result<Vec<Value>, Trouble> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes a list of so many.
pub(super) fn exactly<const N: usize>(value: Value, what: &'static str) -> Result<[Value; N], Trouble> {
    list(value, what)?.try_into().map_err(|_| Trouble::Odd(what))
}

/// Takes bytes.
pub(super) fn bytes(value: Value, what: &'static str) -> Result<Bytes, Trouble> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) => Ok(Bytes::from(text)),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes text.
pub(super) fn text(value: Value, what: &'static str) -> Result<String, Trouble> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Trouble::Odd(what)),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Trouble::Odd(what)),
    }
}

/// Takes a number, which may come as text.
pub(super) fn number(value: &Value, what: &'static str) -> Result<u64, Trouble> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    number.ok_or(Trouble::Odd(what))
}

/// Takes an entry's id.
pub(super) fn entry_id(value: Value) -> Result<EntryId, Trouble> {
    const WHAT: &str = "an entry id";
    EntryId::parse(&text(value, WHAT)?).map_err(|_| Trouble::Odd(WHAT))
}

/// Takes an entry's fields. Names that are no UTF-8 keep what is.
pub(super) fn fields(value: Value) -> Result<Fields, Trouble> {
    const WHAT: &str = "the fields of an entry";
    let mut fields = Fields::new();
    let mut values = list(value, WHAT)?.into_iter();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        let name = bytes(name, WHAT)?;
        fields.push(&String::from_utf8_lossy(&name), bytes(value, WHAT)?);
    }
    Ok(fields)
}

/// Takes the answer to a read of one stream.
pub(super) fn entries(value: Value) -> Result<Vec<(EntryId, Fields)>, Trouble> {
    const WHAT: &str = "the entries of one stream";
    let entries = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
        Value::Array(mut streams) => match streams.pop() {
            Some(stream) => exactly::<2>(stream, WHAT).map(|[_, entries]| Some(entries))?,
            None => None,
        },
        _ => return Err(Trouble::Odd(WHAT)),
    };
    let entries = list(entries.unwrap_or_default(), WHAT)?;
    entries.into_iter().map(|entry| exactly(entry, WHAT).and_then(pair)).collect()
}

fn pair([id, values]: [Value; 2]) -> Result<(EntryId, Fields), Trouble> {
    Ok((entry_id(id)?, fields(values)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    fn entry(id: &str) -> Value {
        let fields = [bulk(b"to_uid"), bulk(b"1"), bulk(b"\xff"), bulk(b"\xfe\xff")];
        Value::Array(vec![bulk(id.as_bytes()), Value::Array(fields.into())])
    }

    #[test]
    fn a_read_is_understood_in_both_protocols() {
        let entries_of = |value| entries(value).unwrap();
        let two = || Value::Array(vec![entry("5-0"), entry("5-1")]);
        for answer in [Value::Array(vec![Value::Array(vec![bulk(b"s"), two()])]), Value::Map(vec![(bulk(b"s"), two())])]
        {
            let read = entries_of(answer);
            assert_eq!(read.len(), 2);
            assert_eq!(read[1].0, EntryId { ms: 5, seq: 1 });
            assert_eq!(read[0].1.get("to_uid").unwrap().as_ref(), b"1");
            assert_eq!(read[0].1.get("\u{fffd}").unwrap().as_ref(), b"\xfe\xff");
        }
        assert!(entries_of(Value::Nil).is_empty());
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for odd in [Value::Okay, Value::Array(vec![Value::Int(1)]), Value::Array(vec![Value::Array(vec![bulk(b"s")])])]
        {
            assert!(matches!(entries(odd), Err(Trouble::Odd(_))));
        }
    }
}
