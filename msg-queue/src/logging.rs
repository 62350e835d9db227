//! The log: lines formatted here, written by a thread of their own.
//!
//! Owns the subscriber and the bounded queue of lines before the writer. Never makes anyone wait: when the writer
//! falls behind, lines are dropped and counted ([`LogGuard::dropped_lines`]).

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogFormat, LogRotation, LogSection, LogTarget};

/// Keeps the log's writer alive; what is still queued is written when it is dropped.
#[must_use = "the log ends when its guard is dropped"]
#[derive(Debug)]
pub struct LogGuard {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` holds no directives.
    #[error("log.level cannot be read")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// The folder or the first file cannot be made.
    #[error("log files cannot be written in log.directory")]
    Files(#[source] InitError),
    /// This process has a log already.
    #[error("a log is running already")]
    Running(#[source] tracing::dispatcher::SetGlobalDefaultError),
}

impl LogGuard {
    /// Returns how many lines were dropped because the writer fell behind.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

/// Starts the log of this process.
///
/// # Errors
/// When the section makes no sense, its files cannot be written or a log is running already.
pub fn start(section: &LogSection) -> Result<LogGuard, LogError> {
    let (subscriber, guard) = build(section)?;
    tracing::subscriber::set_global_default(subscriber).map_err(LogError::Running)?;
    Ok(guard)
}

/// Builds the log without making it that of the process, for those who bring more layers and for tests.
///
/// # Errors
/// When the section makes no sense or its files cannot be written.
pub fn build(section: &LogSection) -> Result<(impl Subscriber + Send + Sync + use<>, LogGuard), LogError> {
    let filter = EnvFilter::try_new(&section.level).map_err(LogError::Level)?;
    let (writer, guard) = match section.target {
        LogTarget::Console => queue(section, io::stderr()),
        LogTarget::File => queue(section, files(section)?),
    };
    Ok((Registry::default().with(filter).with(lines(section.format, writer)), guard))
}

fn queue(section: &LogSection, writer: impl Write + Send + 'static) -> (NonBlocking, LogGuard) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(section.buffer_lines)
        .thread_name("log")
        .finish(writer);
    let dropped = writer.error_counter();
    (writer, LogGuard { dropped, _writer: guard })
}

fn files(section: &LogSection) -> Result<RollingFileAppender, LogError> {
    let rotation = match section.rotation {
        LogRotation::Daily => Rotation::DAILY,
        LogRotation::Hourly => Rotation::HOURLY,
        LogRotation::Never => Rotation::NEVER,
    };
    RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(&section.file_prefix)
        .filename_suffix("log")
        .max_log_files(section.keep_files)
        .build(&section.directory)
        .map_err(LogError::Files)
}

fn lines<S>(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    // Escape codes make a file, and most collectors of standard error, harder to read.
    let layer = fmt::layer().with_ansi(false).with_writer(writer);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("gim-log-{name}-{}", std::process::id())))
        }

        fn text(&self) -> String {
            let file = fs::read_dir(&self.0).unwrap().next().unwrap().unwrap().path();
            fs::read_to_string(file).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn written(folder: &Folder, section: LogSection, log: impl FnOnce()) -> String {
        let section = LogSection { target: LogTarget::File, directory: folder.0.clone(), ..section };
        let (subscriber, guard) = build(&section).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        drop(guard);
        folder.text()
    }

    #[test]
    fn lines_below_the_level_are_left_out() {
        let folder = Folder::new("level");
        let text = written(&folder, LogSection::default(), || {
            tracing::info!("shown");
            tracing::debug!("hidden");
        });
        assert!(text.contains("shown"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let folder = Folder::new("json");
        let section = LogSection { format: LogFormat::Json, ..LogSection::default() };
        let text = written(&folder, section, || tracing::warn!(uid = "u1", "hello"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["message"], &line["uid"], &line["level"]), (&"hello".into(), &"u1".into(), &"WARN".into()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = Folder::new("file");
        fs::write(&folder.0, "in the way").unwrap();
        let section = LogSection { target: LogTarget::File, directory: folder.0.join("log"), ..LogSection::default() };
        let error = build(&section).err();
        fs::remove_file(&folder.0).unwrap();
        assert!(matches!(error, Some(LogError::Files(_))), "{error:?}");
    }

    #[test]
    fn directives_that_cannot_be_read_are_an_error() {
        let section = LogSection { level: "info,=loud=".to_owned(), ..LogSection::default() };
        assert!(matches!(build(&section).err(), Some(LogError::Level(_))));
    }

    /// A writer that is stuck until the test lets it go.
    struct Stuck {
        reached: SyncSender<()>,
        go: Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.reached.try_send(());
            let _ = self.go.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_queue_are_dropped_and_counted() {
        let (reached, is_reached) = sync_channel(1);
        let (let_go, go) = sync_channel(1);
        let section = LogSection { buffer_lines: 2, ..LogSection::default() };
        let (mut writer, guard) = queue(&section, Stuck { reached, go });
        writer.write_all(b"taken\n").unwrap();
        is_reached.recv().unwrap();
        for _ in 0..5 {
            writer.write_all(b"queued or dropped\n").unwrap();
        }
        assert_eq!(guard.dropped_lines(), 3);
        drop(let_go);
    }
}
