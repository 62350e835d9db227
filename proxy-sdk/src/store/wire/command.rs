//! Commands as they go over the wire.

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
        let mut command = Self { parts: 0, body: Vec::with_capacity(64) };
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
        let mut digits = [0; DIGITS];
        self.part(decimal(number, &mut digits));
    }

    /// Appends two numbers with a sign between them, as entry ids are written.
    pub fn numbers(&mut self, first: u64, between: u8, second: u64) {
        let (mut one, mut other) = ([0; DIGITS], [0; DIGITS]);
        let (one, other) = (decimal(first, &mut one), decimal(second, &mut other));
        self.begin(one.len() + 1 + other.len());
        self.body.extend_from_slice(one);
        self.body.push(between);
        self.body.extend_from_slice(other);
        self.body.extend_from_slice(b"\r\n");
    }

    /// Appends the command to what is to be sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + DIGITS);
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

/// Digits of any `u64`.
pub(crate) const DIGITS: usize = 20;

/// Writes what comes before a list (`*`) or a word (`$`).
pub(crate) fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Nearly all are of one digit or two: written in one piece.
    match (length / 10, (length % 10) as u8) {
        (0, one) => out.extend_from_slice(&[kind, b'0' + one, b'\r', b'\n']),
        (tens @ 1..=9, one) => out.extend_from_slice(&[kind, b'0' + tens as u8, b'0' + one, b'\r', b'\n']),
        _ => {
            let mut digits = [0; DIGITS];
            out.push(kind);
            out.extend_from_slice(decimal(length as u64, &mut digits));
            out.extend_from_slice(b"\r\n");
        }
    }
}

// By hand: there are two per entry, and the formatting machinery is felt.
pub(crate) fn decimal(number: u64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut left = number;
    let mut from = DIGITS;
    for digit in digits.iter_mut().rev() {
        // Below ten.
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        from -= 1;
        if left == 0 {
            break;
        }
    }
    digits.get(from..).unwrap_or_default()
}
