use gim_proto::Fields;
use gim_proto::rpc::QueueEntry;
use prost::Message as _;

#[test]
fn an_entry_keeps_its_fields_across_a_call() {
    let fields: Fields =
        [("to_uid", "42"), ("data", "{}"), ("x-trace", "1"), ("data", "{\"n\":1}")].into_iter().collect();
    let entry = QueueEntry::from(fields.clone());
    assert_eq!(Fields::from(entry), fields);
}

#[test]
fn an_entry_is_encoded_as_in_the_contract() {
    let mut fields = Fields::new();
    fields.push("raw", &b"\xff\x00"[..]);
    let bytes = QueueEntry::from(fields).encode_to_vec();
    assert_eq!(bytes, b"\x0a\x09\x0a\x03raw\x12\x02\xff\x00");
    assert_eq!(Fields::from(QueueEntry::decode(&bytes[..]).unwrap()).get("raw").unwrap(), &b"\xff\x00"[..]);
}
