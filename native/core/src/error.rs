use std::fmt;

/// What went wrong, as a stable word; the bindings pass it on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// a length, offset, shape or parameter that cannot be
    BadInput,
    /// bytes that are not those that were stored
    Corrupt,
    /// the operating system refused
    Io,
    /// the caller asked to stop, or closed what it was using
    Aborted,
    /// a fault of this library
    Engine,
}

impl Code {
    /// The code as JavaScript knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadInput => "BAD_INPUT",
            Code::Corrupt => "CORRUPT",
            Code::Io => "IO",
            Code::Aborted => "ABORTED",
            Code::Engine => "ENGINE",
        }
    }
}

/// Every error of this crate; the message is one line, "Cannot <do> <what>: <why>".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// stable, for programs
    pub code: Code,
    /// for people
    pub message: String,
}

/// The result of whatever can fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A number from outside that cannot be.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(Code::BadInput, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
