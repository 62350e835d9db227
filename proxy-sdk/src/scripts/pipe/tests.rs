//! Against a server that says what the test wants.

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::{RedisOptions, StoreErrorKind};

const SHORT: Duration = Duration::from_millis(200);

struct Server(TcpListener);

impl Server {
    async fn start() -> (Self, Pipe) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let options = RedisOptions::parse(&url).unwrap().call_timeout(SHORT).connect_timeout(Duration::from_secs(5));
        (Self(listener), Pipe::new(Store::new(options), End::Master))
    }

    /// Takes the next connection, and answers what the client says of itself.
    async fn accept(&self) -> TcpStream {
        let (mut socket, _) = self.0.accept().await.unwrap();
        assert!(!read(&mut socket).await.is_empty());
        socket.write_all(b"+OK\r\n").await.unwrap();
        socket
    }
}

async fn read(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let read = socket.read(&mut bytes).await.unwrap();
    bytes.truncate(read);
    bytes
}

fn due() -> Instant {
    Instant::now() + SHORT
}

fn echo(words: &mut Words<'_>) {
    words.command(2);
    words.word(b"ECHO");
    words.number(7);
}

async fn call(pipe: &Pipe) -> Result<Value, StoreError> {
    pipe.call(due(), echo).await
}

async fn opened(server: &Server, pipe: &Pipe) -> (JoinHandle<()>, TcpStream) {
    let (driver, socket) = tokio::join!(pipe.open(), server.accept());
    (driver.unwrap(), socket)
}

#[tokio::test]
async fn calls_made_at_the_same_time_go_out_in_one_write_and_are_answered_in_order() {
    const CALLS: usize = 50;
    let (server, pipe) = Server::start().await;
    let (driver, mut socket) = opened(&server, &pipe).await;
    let serving = async {
        let sent = read(&mut socket).await;
        assert_eq!(sent, b"*2\r\n$4\r\nECHO\r\n$1\r\n7\r\n".repeat(CALLS));
        let answers: String = (0..CALLS).map(|number| format!(":{number}\r\n")).collect();
        socket.write_all(answers.as_bytes()).await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all((0..CALLS).map(|_| call(&pipe))), serving);
    let numbers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    pipe.close(driver).await;
    assert_eq!(call(&pipe).await.unwrap_err().kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_call_too_many_is_refused_and_counted_and_none_after_it() {
    let (server, pipe) = Server::start().await;
    let (_driver, mut socket) = opened(&server, &pipe).await;
    pipe.0.under_way.fetch_add(UNDER_WAY, Ordering::Relaxed);
    let error = call(&pipe).await.unwrap_err();
    assert_eq!((error.kind, error.source.is_some(), pipe.crowded()), (StoreErrorKind::Unavailable, true, 1));
    pipe.0.under_way.fetch_sub(UNDER_WAY, Ordering::Relaxed);
    let serving = async {
        assert!(!read(&mut socket).await.is_empty());
        socket.write_all(b":7\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(call(&pipe), serving);
    assert_eq!((answer.unwrap().as_i64(), pipe.crowded()), (Some(7), 1));
}

#[tokio::test]
async fn several_commands_of_one_call_have_one_answer_and_an_error_is_the_first() {
    let (server, pipe) = Server::start().await;
    let (_driver, mut socket) = opened(&server, &pipe).await;
    let both = |words: &mut Words<'_>| {
        echo(words);
        echo(words);
    };
    let serving = async {
        read(&mut socket).await;
        socket.write_all(b"*2\r\n$1\r\na\r\n$-1\r\n+b\r\n").await.unwrap();
        read(&mut socket).await;
        socket.write_all(b"-READONLY no\r\n-OOM no\r\n").await.unwrap();
    };
    let calling = async { (pipe.call_all(2, due(), both).await, pipe.call_all(2, due(), both).await) };
    let ((good, bad), ()) = tokio::join!(calling, serving);
    assert_eq!(good.unwrap(), [Value::Array(vec![Value::from("a"), Value::Null]), Value::from("b")]);
    assert!(bad.unwrap_err().is("READONLY"));
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_a_deadline_and_then_its_connection() {
    let (server, pipe) = Server::start().await;
    let (_driver, socket) = opened(&server, &pipe).await;
    let began = Instant::now();
    assert_eq!(call(&pipe).await.unwrap_err().kind, StoreErrorKind::Unknown);
    assert!(began.elapsed() >= SHORT);
    let mut next = server.accept().await;
    drop(socket);
    let answered = async {
        read(&mut next).await;
        next.write_all(b":1\r\n").await.unwrap();
    };
    let calling = async {
        loop {
            match call(&pipe).await {
                Err(error) if error.kind == StoreErrorKind::Unavailable => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let (answer, ()) = tokio::join!(calling, answered);
    assert_eq!(answer.unwrap(), Value::Integer(1));
}

#[tokio::test]
async fn what_was_sent_when_a_connection_broke_may_have_taken_effect_and_is_not_sent_again() {
    let (server, pipe) = Server::start().await;
    let (_driver, mut socket) = opened(&server, &pipe).await;
    let serving = async {
        read(&mut socket).await;
        drop(socket);
    };
    let (failed, ()) = tokio::join!(call(&pipe), serving);
    assert_eq!(failed.unwrap_err().kind, StoreErrorKind::Unknown);
    let mut next = server.accept().await;
    let mut byte = [0];
    let silent = timeout(SHORT / 4, next.read(&mut byte)).await;
    assert!(silent.is_err(), "nothing comes by itself");
}

#[tokio::test]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let (server, pipe) = Server::start().await;
    let (_driver, mut socket) = opened(&server, &pipe).await;
    socket.write_all(b":1\r\n").await.unwrap();
    server.accept().await;
}
