//! Numbers a client sees: codes of errors in replies, codes of close frames.
//!
//! Owns their names and meaning. Which failure answers which code is decided where the failure is handled.

/// Why a command or a call was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// It was done.
    Ok = 200,
    /// The user is not connected.
    UserOffline = 10001,
    /// The user is connected already.
    UserOnline = 10002,
    /// The node that holds the user cannot be called.
    RpcClientNotFound = 20001,
    /// A parameter is missing, of the wrong type or out of range.
    ParamsError = 20002,
    /// What was sent is not the JSON it should be.
    JsonError = 20003,
    /// Nobody handles the command.
    NoHandleMsg = 20004,
    /// A queue on the way is full.
    SendChanFull = 20005,
    /// The sender may not do that.
    Forbidden = 20006,
    /// The handler failed.
    HandlerFailed = 20007,
    /// The handler did not end in time.
    HandlerTimeout = 20008,
    /// The sender does that too often.
    RateLimited = 20009,
}

impl ErrorCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::UserOffline,
        Self::UserOnline,
        Self::RpcClientNotFound,
        Self::ParamsError,
        Self::JsonError,
        Self::NoHandleMsg,
        Self::SendChanFull,
        Self::Forbidden,
        Self::HandlerFailed,
        Self::HandlerTimeout,
        Self::RateLimited,
    ];

    /// Tells the number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Tells the name, which is also the text of the error when there is nothing better to say.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::UserOffline => "USER_OFFLINE",
            Self::UserOnline => "USER_ONLINE",
            Self::RpcClientNotFound => "RPC_CLIENT_NOT_FOUND",
            Self::ParamsError => "PARAMS_ERROR",
            Self::JsonError => "JSON_ERROR",
            Self::NoHandleMsg => "NO_HANDLE_MSG",
            Self::SendChanFull => "SEND_CHAN_FULL",
            Self::Forbidden => "FORBIDDEN",
            Self::HandlerFailed => "HANDLER_FAILED",
            Self::HandlerTimeout => "HANDLER_TIMEOUT",
            Self::RateLimited => "RATE_LIMITED",
        }
    }

    /// Reads a number from the wire. `None`: no such code.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// It had served its purpose.
    Normal = 1000,
    /// One side goes away.
    GoingAway = 1001,
    /// The client broke RFC 6455.
    ProtocolError = 1002,
    /// A text was not UTF-8.
    BadUtf8 = 1007,
    /// A frame or message was larger than the bound.
    TooBig = 1009,
    /// The node restarts.
    Restarting = 1012,
    /// The node has too much to do.
    Overloaded = 1013,
    /// The client reads too slowly.
    SlowConsumer = 4001,
    /// The client was silent for too long.
    HeartbeatLost = 4002,
    /// The session no longer owns its uid, or cannot know.
    Fenced = 4003,
    /// The token is bad or has expired.
    Unauthorized = 4500,
    /// The same uid connected elsewhere.
    Replaced = 4501,
    /// The client kept sending frames that cannot be read.
    BadFrames = 4502,
    /// An operator or a backend ended the connection.
    Kicked = 4503,
    /// The uid is connected already, and the policy keeps the other one.
    AlreadyConnected = 4504,
}

impl CloseCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 15] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::BadUtf8,
        Self::TooBig,
        Self::Restarting,
        Self::Overloaded,
        Self::SlowConsumer,
        Self::HeartbeatLost,
        Self::Fenced,
        Self::Unauthorized,
        Self::Replaced,
        Self::BadFrames,
        Self::Kicked,
        Self::AlreadyConnected,
    ];

    /// Tells the number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Tells the word used in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::BadUtf8 => "bad_utf8",
            Self::TooBig => "too_big",
            Self::Restarting => "restarting",
            Self::Overloaded => "overloaded",
            Self::SlowConsumer => "slow_consumer",
            Self::HeartbeatLost => "heartbeat_lost",
            Self::Fenced => "fenced",
            Self::Unauthorized => "unauthorized",
            Self::Replaced => "replaced",
            Self::BadFrames => "bad_frames",
            Self::Kicked => "kicked",
            Self::AlreadyConnected => "already_connected",
        }
    }

    /// Tells what the client should do next.
    #[must_use]
    pub const fn reconnect(self) -> Reconnect {
        match self {
            Self::Normal | Self::GoingAway => Reconnect::Free,
            Self::ProtocolError | Self::BadUtf8 | Self::TooBig => Reconnect::NotRepeating,
            Self::Restarting | Self::Overloaded => Reconnect::AfterHint,
            Self::SlowConsumer | Self::HeartbeatLost | Self::Fenced => Reconnect::Yes,
            Self::Unauthorized => Reconnect::NewToken,
            Self::Replaced | Self::BadFrames | Self::Kicked | Self::AlreadyConnected => Reconnect::No,
        }
    }

    /// Reads a number from the wire. `None`: not one of ours.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }
}

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// As it likes.
    Free,
    /// As it likes, without sending again what was refused.
    NotRepeating,
    /// Not by itself.
    No,
    /// After the time the notice names.
    AfterHint,
    /// At once, backing off when it fails.
    Yes,
    /// With a new token.
    NewToken,
}
