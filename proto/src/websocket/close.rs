//! Payloads of close frames: nothing, or a code and a reason.

/// What breaks RFC 6455 in a close frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ClosePayloadError {
    /// One byte is half a code.
    #[error("the close payload is one byte")]
    OneByte,
    /// The code may not be sent.
    #[error("close code {0} may not be sent")]
    Code(u16),
    /// The reason is not UTF-8.
    #[error("the close reason is not utf-8")]
    Reason,
}

/// Reads a close frame's payload: code and reason. `None`: it is empty.
///
/// # Errors
/// The payload is one byte, the code may not be sent, or the reason is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, ClosePayloadError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(ClosePayloadError::OneByte)?;
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(ClosePayloadError::Code(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ClosePayloadError::Reason)?;
    Ok(Some((code, reason)))
}

// 1004 is undefined; 1005, 1006 and 1015 only describe what happened without a close frame.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
