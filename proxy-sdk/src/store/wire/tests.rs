use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

use super::*;

/// A reply as a tree, to be written down and read back.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    List(Vec<Tree>),
    Bytes(Vec<u8>),
    Status(String),
    Error(String),
    Number(i64),
    Nil,
}

fn tree() -> impl Strategy<Value = Tree> {
    let line = "[A-Z][a-z ]{0,12}";
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Bytes),
        line.prop_map(Tree::Status),
        line.prop_map(Tree::Error),
        any::<i64>().prop_map(Tree::Number),
        Just(Tree::Nil),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Tree::List))
}

fn write(tree: &Tree, out: &mut Vec<u8>) {
    match tree {
        Tree::List(parts) => {
            out.extend(format!("*{}\r\n", parts.len()).into_bytes());
            parts.iter().for_each(|part| write(part, out));
        }
        Tree::Bytes(bytes) => {
            out.extend(format!("${}\r\n", bytes.len()).into_bytes());
            out.extend(bytes);
            out.extend(b"\r\n");
        }
        Tree::Status(text) => out.extend(format!("+{text}\r\n").into_bytes()),
        Tree::Error(text) => out.extend(format!("-{text}\r\n").into_bytes()),
        Tree::Number(number) => out.extend(format!(":{number}\r\n").into_bytes()),
        Tree::Nil => out.extend(b"$-1\r\n"),
    }
}

fn read(parts: &mut Parts<'_>) -> Tree {
    match parts.next().unwrap() {
        Part::List(count) => Tree::List((0..count).map(|_| read(parts)).collect()),
        Part::Bytes(bytes) => Tree::Bytes(bytes.to_vec()),
        Part::Error(text) => Tree::Error(String::from_utf8(text.to_vec()).unwrap()),
        Part::Number(number) => Tree::Number(number),
        Part::Nil => Tree::Nil,
    }
}

/// As a reader sees it: a status is bytes.
fn seen(tree: &Tree) -> Tree {
    match tree {
        Tree::List(parts) => Tree::List(parts.iter().map(seen).collect()),
        Tree::Status(text) => Tree::Bytes(text.clone().into_bytes()),
        other => other.clone(),
    }
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

proptest! {
    #[test]
    fn however_the_bytes_come_in_the_replies_are_the_same(
        trees in prop::collection::vec(tree(), 1..5),
        cuts in prop::collection::vec(1_usize..30, 0..60),
    ) {
        let mut bytes = Vec::new();
        trees.iter().for_each(|tree| write(tree, &mut bytes));
        let replies = block_on(async {
            // As much as fits is one read.
            let (mut server, client) = duplex(1 << 20);
            let mut wire = Wire::over(client);
            let mut rest = bytes.as_slice();
            let mut cuts = cuts.into_iter();
            let mut replies = Vec::new();
            loop {
                let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                server.write_all(now).await.unwrap();
                rest = later;
                // Dropped where it waits, and called again.
                while let Some(reply) = futures_util::FutureExt::now_or_never(wire.receive()) {
                    let reply = reply.unwrap();
                    let mut parts = reply.parts();
                    replies.push(read(&mut parts));
                    assert!(parts.next().is_none());
                }
                if rest.is_empty() {
                    return replies;
                }
            }
        });
        prop_assert_eq!(replies, trees.iter().map(seen).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_are_too_odd(bytes: Vec<u8>) {
        let mut scan = Scan::default();
        if let Ok(Progress::Whole { bytes: whole }) = scan.advance(&bytes) {
            prop_assert!(whole <= bytes.len());
        }
    }

    #[test]
    fn what_needs_more_says_how_much_at_least(tree in tree(), cut in 0_usize..200) {
        let mut bytes = Vec::new();
        write(&tree, &mut bytes);
        let cut = cut.min(bytes.len());
        let mut scan = Scan::default();
        match scan.advance(&bytes[..cut]) {
            Ok(Progress::Needs { bytes: least }) => prop_assert!(cut < least && least <= bytes.len()),
            other => prop_assert_eq!(other, Ok(Progress::Whole { bytes: bytes.len() })),
        }
        prop_assert_eq!(scan.advance(&bytes), Ok(Progress::Whole { bytes: bytes.len() }));
    }

    #[test]
    fn commands_are_written_as_lists_of_bytes(args in prop::collection::vec(any::<Vec<u8>>(), 0..9), number: u64, other: u64) {
        let mut command = Command::new("NAME");
        args.iter().for_each(|arg| command.arg(arg));
        command.number(number);
        command.numbers(number, b'-', other);
        let mut expected = vec![Tree::Bytes(b"NAME".to_vec())];
        expected.extend(args.into_iter().map(Tree::Bytes));
        expected.push(Tree::Bytes(number.to_string().into_bytes()));
        expected.push(Tree::Bytes(format!("{number}-{other}").into_bytes()));
        let (mut written, mut out) = (Vec::new(), Vec::new());
        write(&Tree::List(expected), &mut written);
        command.write(&mut out);
        prop_assert_eq!(out, written);
    }
}

async fn received(bytes: &[u8]) -> Result<Reply, StoreError> {
    let (mut server, client) = duplex(1 << 20);
    server.write_all(bytes).await.unwrap();
    drop(server);
    Wire::over(client).receive().await
}

#[tokio::test]
async fn what_is_no_reply_ends_the_connection() {
    let endless = [b"+".as_slice(), &[b'a'; 70_000]].concat();
    let odd: [&[u8]; 8] =
        [b"hello\r\n", b"*x\r\n", b"$3\r\nabcde", b":\r\n", b"+a\rb\r\n", b"$-2\r\n", b"%1\r\n+a\r\n+b\r\n", &endless];
    for bytes in odd {
        let error = received(bytes).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{:?}", String::from_utf8_lossy(bytes));
    }
    let too_large = format!("*2\r\n:1\r\n${MOST_REPLY}\r\n");
    assert_eq!(received(too_large.as_bytes()).await.unwrap_err().kind, StoreErrorKind::Corrupt);
    assert_eq!(received(b"*2\r\n:1\r\n").await.unwrap_err().kind, StoreErrorKind::Unknown, "it ended in the middle");
}

#[tokio::test]
async fn a_connection_that_failed_fails_for_ever() {
    let (server, client) = duplex(64);
    let mut wire = Wire::over(client);
    drop(server);
    assert_eq!(wire.receive().await.unwrap_err().kind, StoreErrorKind::Unknown);
    assert_eq!(wire.receive().await.unwrap_err().kind, StoreErrorKind::Unknown);
    assert_eq!(wire.send(b"*1\r\n$4\r\nPING\r\n").await.unwrap_err().kind, StoreErrorKind::Unknown);
}

#[tokio::test]
async fn a_write_that_was_dropped_half_way_takes_the_connection_with_it() {
    let (mut server, client) = duplex(8);
    let mut wire = Wire::over(client);
    let sending = futures_util::FutureExt::now_or_never(wire.send(b"*1\r\n$4\r\nPING\r\n"));
    assert!(sending.is_none(), "only some of it fits");
    server.write_all(b"+PONG\r\n").await.unwrap();
    assert_eq!(wire.receive().await.unwrap_err().kind, StoreErrorKind::Unknown);
}

#[tokio::test]
async fn a_call_that_was_dropped_before_its_answer_takes_the_connection_with_it() {
    let (mut server, client) = duplex(64);
    let mut wire = Wire::over(client);
    assert!(futures_util::FutureExt::now_or_never(wire.call(&Command::new("FIRST"))).is_none());
    server.write_all(b"+first\r\n").await.unwrap();
    let next = wire.call(&Command::new("SECOND")).await;
    assert_eq!(next.unwrap_err().kind, StoreErrorKind::Unknown, "it would get the answer of the first");
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_code() {
    let refused = received(b"-NOGROUP no such group\r\n").await.unwrap().ok().unwrap_err();
    assert!(refused.is("NOGROUP") && refused.kind == StoreErrorKind::Refused);
    for (text, kind) in [
        ("-MOVED 1 127.0.0.1:1\r\n", StoreErrorKind::Unavailable),
        ("-NOPERM no\r\n", StoreErrorKind::Denied),
        ("-OOM no\r\n", StoreErrorKind::Full),
    ] {
        assert_eq!(received(text.as_bytes()).await.unwrap().ok().unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn a_small_part_of_a_large_reply_is_copied_and_a_large_one_shared() {
    let mut bytes = Vec::new();
    write(&Tree::List(vec![Tree::Bytes(vec![b'a'; 100_000]), Tree::Bytes(vec![b'b'; 100])]), &mut bytes);
    let reply = received(&bytes).await.unwrap();
    let mut parts = reply.parts();
    assert_eq!(parts.list(), Some(2));
    let (large, small) = (parts.bytes().unwrap(), parts.bytes().unwrap());
    let (kept_large, kept_small) = (reply.keep(large), reply.keep(small));
    assert_eq!((kept_large.as_ref(), kept_small.as_ref()), (large, small));
    assert_eq!(kept_large.as_ptr(), large.as_ptr());
    assert_ne!(kept_small.as_ptr(), small.as_ptr());
}

#[tokio::test]
async fn what_a_large_reply_took_is_not_kept() {
    let large = vec![b'x'; 8 * KEPT];
    let mut sent = format!("${}\r\n", large.len()).into_bytes();
    sent.extend(&large);
    sent.extend(b"\r\n$3\r\nyes\r\n");
    let (client, mut server) = duplex(1 << 16);
    let sending = tokio::spawn(async move {
        server.write_all(&sent).await.unwrap();
        server
    });
    let mut wire = Wire::over(client);
    assert_eq!(wire.receive().await.unwrap().parts().bytes().map(<[u8]>::len), Some(large.len()));
    assert!(wire.held <= 2 * KEPT, "{} bytes are kept", wire.held);
    assert_eq!(wire.receive().await.unwrap().parts().bytes(), Some(b"yes".as_slice()));
    drop(sending.await.unwrap());
}

#[test]
fn a_reply_has_a_bound_of_parts() {
    let mut scan = Scan::default();
    let mut reply = format!("*{}\r\n", 9 << 20).into_bytes();
    reply.extend(b"+\r\n".repeat(9 << 20));
    assert!(scan.advance(&reply).is_err());
}
