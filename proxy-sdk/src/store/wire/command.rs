//! Commands as they go over the wire.

/// Bytes of a command for which there is room at first: most have no more.
const ROOM: usize = 256;
/// Bytes of any length, with what is around it.
const LENGTH: usize = 1 + 20 + 2;

/// A command and its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    parts: usize,
    body: Vec<u8>,
}

impl Command {
    /// Begins a command with its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut command = Self { parts: 0, body: Vec::with_capacity(ROOM) };
        command.arg(name);
        command
    }

    /// Makes room for so many bytes of arguments, their lengths included.
    pub fn reserve(&mut self, bytes: usize) {
        self.body.reserve(bytes);
    }

    /// Appends an argument.
    pub fn arg(&mut self, argument: impl AsRef<[u8]>) {
        self.part(argument.as_ref());
    }

    /// Appends a number.
    pub fn number(&mut self, number: u64) {
        self.part(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends two numbers with a sign between them, as entry ids are written.
    pub fn numbers(&mut self, first: u64, between: u8, second: u64) {
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (one, other) = (one.format(first), other.format(second));
        self.begin(one.len() + 1 + other.len());
        self.body.extend_from_slice(one.as_bytes());
        self.body.push(between);
        self.body.extend_from_slice(other.as_bytes());
        self.body.extend_from_slice(b"\r\n");
    }

    /// Appends the command to what is to be sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + LENGTH);
        push_length(out, b'*', self.parts);
        out.extend_from_slice(&self.body);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.begin(bytes.len());
        self.body.extend_from_slice(bytes);
        self.body.extend_from_slice(b"\r\n");
    }

    fn begin(&mut self, length: usize) {
        self.parts += 1;
        push_length(&mut self.body, b'$', length);
    }
}

/// Writes what comes before a list (`*`) or a word (`$`).
pub(crate) fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Nearly all are of one digit or two: written in one piece.
    match (length / 10, (length % 10) as u8) {
        (0, one) => out.extend_from_slice(&[kind, b'0' + one, b'\r', b'\n']),
        (tens @ 1..=9, one) => out.extend_from_slice(&[kind, b'0' + tens as u8, b'0' + one, b'\r', b'\n']),
        _ => {
            out.push(kind);
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
