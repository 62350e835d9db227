//! Fields of an entry in one allocation.
//!
//! Lengths are in base 128, seven bits a byte, low ones first, the top bit saying that more follow. The form never leaves
//! the process.

use bytes::Bytes;
use gim_proto::Fields;

/// Packs fields.
pub(super) fn pack(fields: &Fields) -> Bytes {
    let mut packed = Vec::with_capacity(fields.bytes() + 5 * fields.len());
    for (name, value) in fields.iter() {
        push(&mut packed, name.as_bytes());
        push(&mut packed, value);
    }
    Bytes::from(packed.into_boxed_slice())
}

/// Unpacks fields. Their values share the packed bytes.
pub(super) fn unpack(mut packed: Bytes) -> Fields {
    let mut fields = Fields::new();
    while let Some(name) = take(&mut packed) {
        let value = take(&mut packed).unwrap_or_default();
        fields.push(&String::from_utf8_lossy(&name), value);
    }
    fields
}

fn push(packed: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        packed.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
    packed.extend_from_slice(bytes);
}

fn take(packed: &mut Bytes) -> Option<Bytes> {
    let mut length = 0;
    for at in 0..packed.len() {
        let byte = *packed.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            let end = at + 1 + length;
            let bytes = packed.slice(at + 1..end);
            *packed = packed.slice(end..);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_come_out_as_they_went_in(pairs: Vec<(String, Vec<u8>)>) {
            let fields: Fields = pairs.into_iter().collect();
            prop_assert_eq!(unpack(pack(&fields)), fields);
        }
    }

    #[test]
    fn long_values_keep_their_length() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 262_144] {
            let fields: Fields = [("data", vec![7_u8; length]), ("x", vec![1])].into_iter().collect();
            assert_eq!(unpack(pack(&fields)), fields, "{length}");
        }
    }

    #[test]
    fn packing_costs_a_few_bytes_a_field() {
        let fields: Fields = [("to_uid", "42"), ("data", r#"{"text":"hello"}"#)].into_iter().collect();
        assert_eq!(pack(&fields).len(), fields.bytes() + 4);
    }
}
