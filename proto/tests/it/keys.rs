use std::num::NonZeroU16;

use gim_proto::{Incarnation, Keys, MessageId, NodeId, Target, Tgid, Uid, bucket_of, crc16, crc32, lane_of};

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn tgid(text: &str) -> Tgid {
    Tgid::parse(text).unwrap()
}

#[test]
fn keys_are_spelled_as_documented() {
    let keys = Keys::new("gim").unwrap();
    let (user, group) = (uid("42"), tgid("room"));
    let incarnation = Incarnation::parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
    let (node, id) = (NodeId::parse("host-8091").unwrap(), MessageId::parse("order-1").unwrap());
    let table = [
        (keys.queue(3), "gim:queue:3"),
        (keys.lease(3), "{gim:queue:3}:lease"),
        (keys.term(3), "{gim:queue:3}:term"),
        (keys.later(3), "{gim:queue:3}:later"),
        (keys.later_body(3), "{gim:queue:3}:later:body"),
        (keys.idempotency(3, &id), "{gim:queue:3}:id:order-1"),
        (keys.dead(3), "{gim:queue:3}:dead"),
        (keys.user_bucket(&user), "{gim:u:832}"),
        (keys.bucket(7), "{gim:u:7}"),
        (keys.users_at(832, &incarnation), "{gim:u:832}:at:01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        (keys.user_groups(&user), "{gim:u:832}:g:42"),
        (keys.mailbox(&user), "{gim:u:832}:m:42"),
        (keys.mailbox_ids(&user), "{gim:u:832}:m:42:ids"),
        (keys.mailbox_state(&user), "{gim:u:832}:m:42:state"),
        (keys.user_latest(&user), "{gim:u:832}:v:42"),
        (keys.group(&group), "gim:g:room"),
        (keys.group_durable(&group), "{gim:g:room}:durable"),
        (keys.group_latest(&group), "{gim:g:room}:v"),
        (keys.node(&node), "gim:node:host-8091"),
        (keys.workers(), "gim:workers"),
        (keys.meta(), "gim:meta"),
        (keys.journey(&id), "gim:j:order-1"),
        (keys.receipts(), "gim:receipts"),
        (keys.presence(), "gim:presence"),
        (keys.upstream(), "gim:upstream"),
        (keys.etcd_node(&node), "/gim/nodes/host-8091"),
        (keys.etcd_nodes(), "/gim/nodes/"),
    ];
    for (key, expected) in table {
        assert_eq!(key, expected);
    }
}

#[test]
fn the_prefix_replaces_gim_everywhere() {
    let keys = Keys::new("shop").unwrap();
    assert_eq!(keys.prefix(), "shop");
    assert_eq!(keys.queue(0), "shop:queue:0");
    assert_eq!(keys.dead(0), "{shop:queue:0}:dead");
    assert_eq!(keys.mailbox(&uid("42")), "{shop:u:832}:m:42");
    assert_eq!(keys.group_latest(&tgid("g")), "{shop:g:g}:v");
    assert_eq!(keys.meta(), "shop:meta");
    assert_eq!(keys.etcd_nodes(), "/shop/nodes/");
    assert!(Keys::new("").is_err());
    assert!(Keys::new("a{b}").is_err());
}

#[test]
fn crc16_is_that_of_redis_cluster() {
    assert_eq!(crc16(b"123456789"), 0x31C3);
    assert_eq!(crc16(b""), 0);
    // Slots that `CLUSTER KEYSLOT` answers.
    for (key, slot) in [("foo", 12182), ("bar", 5061), ("hello", 866), ("somekey", 11058)] {
        assert_eq!(crc16(key.as_bytes()) % 16384, slot, "{key}");
    }
}

#[test]
fn crc32_is_that_of_zlib() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    assert_eq!(crc32(b""), 0);
}

#[test]
fn buckets_are_crc16_mod_1024() {
    for (user, bucket) in [("42", 832), ("alice", 749), ("usuário", 503), ("7", 692), ("123456789", 451)] {
        assert_eq!(bucket_of(&uid(user)), bucket, "{user}");
    }
}

#[test]
fn lanes_follow_the_user_first_then_the_group() {
    let table = [
        (Target::User(uid("42")), [0, 3, 1, 3, 29991]),
        (Target::User(uid("7")), [0, 3, 0, 15, 14670]),
        (Target::Users(vec![uid("alice"), uid("42")]), [0, 3, 2, 3, 46804]),
        (Target::Group(tgid("room")), [0, 1, 2, 1, 52570]),
        (Target::Group(tgid("42")), [0, 3, 4, 7, 45132]),
        (Target::Groups(vec![tgid("lobby"), tgid("room")]), [0, 0, 3, 4, 42894]),
        (Target::GroupUser { tgid: tgid("room"), uid: uid("42") }, [0, 3, 1, 3, 29991]),
        (Target::GroupsUser { tgids: vec![tgid("room")], uid: uid("alice") }, [0, 3, 2, 3, 46804]),
        (Target::All, [0, 0, 0, 0, 0]),
    ];
    for (target, expected) in table {
        let lanes = [1, 4, 7, 16, 65535].map(|lanes| lane_of(&target, NonZeroU16::new(lanes).unwrap()));
        assert_eq!(lanes, expected, "{target:?}");
    }
}

#[test]
fn keys_of_one_script_lie_in_one_slot_as_redis_counts_them() {
    use gim_proto::slot_of;
    assert_eq!(slot_of("123456789"), 12739, "the check value of Redis Cluster's specification");
    assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
    assert_eq!(slot_of("foo{}{bar}"), slot_of("foo{}{bar}"));
    assert_ne!(slot_of("foo{}{bar}"), slot_of("bar"), "an empty tag is none");
    assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    let keys = Keys::new("gim").unwrap();
    assert_eq!(slot_of(&keys.queue(3)), slot_of(&keys.lease(3)));
    let uid = Uid::parse("42").unwrap();
    assert_eq!(slot_of(&keys.user_bucket(&uid)), slot_of(&keys.user_groups(&uid)));
}
