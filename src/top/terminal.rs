//! The terminal: taken over at the start, given back at the end, on a panic, and while the process is stopped.

use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{execute, style};
use ratatui::layout::Rect;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Whether the terminal is taken over.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();

/// The terminal's screen. Given back when dropped.
#[derive(Debug)]
pub(super) struct Screen {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    /// What the terminal shows.
    shown: Buffer,
}

impl Screen {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// The terminal does not allow it.
    pub(super) fn enter(has_colour: bool) -> io::Result<Self> {
        PANIC_HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                report(info);
            }));
        });
        style::force_color_output(has_colour);
        let mut screen = Self {
            backend: CrosstermBackend::new(BufWriter::new(stdout())),
            shown: Buffer::default(),
        };
        screen.take_over()?;
        Ok(screen)
    }

    fn take_over(&mut self) -> io::Result<()> {
        IS_TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(self.backend, EnterAlternateScreen, Hide)?;
        self.redraw()
    }

    /// Forgets what the terminal shows, so that the next frame draws all of it.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        self.backend.clear()?;
        self.shown = Buffer::default();
        Ok(())
    }

    /// Draws a frame. Writes nothing if the frame looks like the one before.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        let (width, height) = size()?;
        let area = Rect::new(0, 0, width, height);
        if self.shown.area != area {
            self.backend.clear()?;
            self.shown = Buffer::empty(area);
        }
        let mut frame = Buffer::empty(area);
        paint(&mut frame);
        if frame != self.shown {
            self.backend.draw(self.shown.diff(&frame).into_iter())?;
            Backend::flush(&mut self.backend)?;
            self.shown = frame;
        }
        Ok(())
    }

    /// Asks the terminal to put a text on the clipboard, which also works over ssh (OSC 52).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        write!(self.backend, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
        Write::flush(&mut self.backend)
    }

    /// Gives the terminal back and stops the process. Takes the terminal over again when the process goes on.
    #[cfg(unix)]
    pub(super) fn stop_process(&mut self) -> io::Result<()> {
        use rustix::process::{Signal, getpid, kill_process};
        restore();
        kill_process(getpid(), Signal::STOP)?;
        self.take_over()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it is taken over. What fails here has no better place to be reported than the terminal.
fn restore() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Reads keys and changes of the size, from stdin, or from the terminal itself if stdin is something else. The thread
/// ends with the process: nothing can interrupt it while it waits for a key.
pub(super) fn read_events() -> UnboundedReceiver<io::Result<Event>> {
    let (sender, receiver) = unbounded_channel();
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_error = event.is_err();
            if sender.send(event).is_err() || is_error {
                return;
            }
        }
    });
    receiver
}

/// What the shell's job control asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobSignal {
    /// Stop: SIGTSTP.
    Stop,
    /// Go on after a stop: SIGCONT.
    Continue,
}

/// Listens for the signals of job control.
#[derive(Debug)]
pub(super) struct JobControl {
    #[cfg(unix)]
    stop: tokio::signal::unix::Signal,
    #[cfg(unix)]
    go_on: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl JobControl {
    /// Starts to listen.
    pub(super) fn listen() -> io::Result<Self> {
        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |number: Signal| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            stop: listen(Signal::TSTP)?,
            go_on: listen(Signal::CONT)?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> JobSignal {
        tokio::select! {
            _ = self.stop.recv() => JobSignal::Stop,
            _ = self.go_on.recv() => JobSignal::Continue,
        }
    }

    /// Asks all processes of the job to stop, as the terminal does outside of raw mode.
    pub(super) fn stop_job() -> io::Result<()> {
        use rustix::process::{Signal, kill_current_process_group};
        Ok(kill_current_process_group(Signal::TSTP)?)
    }
}

#[cfg(not(unix))]
impl Screen {
    /// This system has no job control.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the signature of the systems with job control"
    )]
    pub(super) fn stop_process(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signatures of the systems with job control"
)]
impl JobControl {
    /// This system has no job control.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Never returns.
    pub(super) async fn next(&mut self) -> JobSignal {
        std::future::pending().await
    }

    /// Does nothing.
    pub(super) fn stop_job() -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    #[ignore = "panics, on the terminal that another test provides"]
    fn a_panic_with_the_screen_taken_over() {
        let _screen = Screen::enter(true).unwrap();
        panic!("as a test");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_reported() {
        let tests = std::env::current_exe().unwrap();
        let name = "top::terminal::tests::a_panic_with_the_screen_taken_over";
        let panic = format!("'{}' --ignored --nocapture --exact {name}", tests.display());
        let output = Command::new("script")
            .args(["-qfec", &format!("{panic}; stty -a"), "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .expect("script, of util-linux, runs");
        let written = String::from_utf8_lossy(&output.stdout);
        let place = |text: &str| {
            written
                .find(text)
                .unwrap_or_else(|| panic!("{text:?}: {written}"))
        };
        let [taken, shown, given_back, reported, cooked] = [
            "\x1b[?1049h",
            "\x1b[?25h",
            "\x1b[?1049l",
            "as a test",
            " icanon",
        ]
        .map(place);
        assert!(taken < shown && shown < given_back, "{written}");
        assert!(given_back < reported && reported < cooked, "{written}");
    }
}
