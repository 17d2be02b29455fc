//! Runs `top`: records, keys, signals and timers in, frames out.

use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ratatui::crossterm::event::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::keys::{Action, Choices};
use super::replay::Replay;
use super::state::TopState;
use super::terminal::{JobControl, JobSignal, Screen, read_events};
use super::view::{self, Context};
use crate::api::RetryObserver;
use crate::domain::record::Record;
use crate::events::WatcherStep;
use crate::exit::{Code, Failure};
use crate::signals::Signals;
use crate::stream::SourceOptions;
use crate::stream::source::Source;
use crate::timer::sleep_until;

/// The shortest time between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// How often ages and durations are looked at. A frame is written only if one of them looks different.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// How many records of a recording are played before keys and signals are looked at again.
const REPLAY_BURST: usize = 1000;

/// How `top` looks, and when it ends.
#[derive(Debug, Clone)]
pub struct TopOptions {
    /// Whom it shows, such as the channel.
    pub title: String,
    /// Whether colours may be used.
    pub has_colour: bool,
    /// Ends after this time.
    pub timeout: Option<Duration>,
}

/// Shows the users of a source until somebody ends it.
///
/// # Errors
///
/// Connecting failed, the stream was lost for good, or the terminal cannot be used.
pub async fn watch(options: TopOptions, mut source: SourceOptions) -> anyhow::Result<Code> {
    let (notices, notices_receiver) = tokio::sync::mpsc::unbounded_channel();
    let retries = notices.clone();
    source.client = source
        .client
        .with_retry_observer(RetryObserver::new(move |retry| {
            let _ = retries.send(format!("{}; trying again", retry.reason));
        }));
    let mut display = Display::open(options, notices_receiver)?;
    let mut source = {
        let mut connecting = Box::pin(Source::connect(source));
        loop {
            tokio::select! {
                input = display.next_input() => {
                    if let Some(code) = display.handle(input, None)? {
                        return Ok(code);
                    }
                }
                source = &mut connecting => break source?,
            }
        }
    };
    loop {
        source.take_burst(|record| display.apply(record));
        let input = tokio::select! {
            biased;
            input = display.next_input() => Some(input),
            step = source.next() => {
                match step? {
                    WatcherStep::Record(record) => display.apply(&record),
                    WatcherStep::Notice(text) => {
                        let _ = notices.send(text.to_owned());
                    }
                    WatcherStep::Quiet => display.note_progress(&source),
                }
                None
            }
        };
        if let Some(input) = input
            && let Some(code) = display.handle(input, None)?
        {
            drop(display);
            source.close().await;
            return Ok(code);
        }
    }
}

/// Plays a recording until somebody ends it.
///
/// # Errors
///
/// The recording cannot be read, or the terminal cannot be used.
pub async fn replay(options: TopOptions, mut replay: Replay) -> anyhow::Result<Code> {
    // Without a connection, nothing sends notices.
    let (_notices, notices_receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut display = Display::open(options, notices_receiver)?;
    loop {
        let now = Instant::now();
        replay.play(now, REPLAY_BURST, |record| display.apply(record))?;
        display.set_replay(&replay, now);
        let input = tokio::select! {
            biased;
            input = display.next_input() => input,
            () = sleep_until(replay.next_due()) => continue,
        };
        if let Some(code) = display.handle(input, Some(&mut replay))? {
            return Ok(code);
        }
    }
}

/// What can happen besides records.
enum Input {
    Signal(Code),
    Job(JobSignal),
    Terminal(Option<io::Result<Event>>),
    Notice(String),
    FrameDue,
    Tick,
    TimedOut,
}

/// The screen with all that decides what is on it.
struct Display {
    options: TopOptions,
    screen: Screen,
    signals: Signals,
    job_control: JobControl,
    events: UnboundedReceiver<io::Result<Event>>,
    notices: UnboundedReceiver<String>,
    state: TopState,
    /// The state at the start of a pause, and when that was.
    frozen: Option<(TopState, DateTime<Utc>)>,
    choices: Choices,
    /// The time of a replay, its speed, and whether it is over.
    replay: Option<(DateTime<Utc>, f64, bool)>,
    /// When the next frame may be drawn, if something has changed.
    frame_due: Option<Instant>,
    last_frame: Instant,
    next_tick: Instant,
    deadline: Option<Instant>,
}

impl Display {
    fn open(options: TopOptions, notices: UnboundedReceiver<String>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            signals: Signals::listen()?,
            job_control: JobControl::listen()?,
            screen: Screen::enter(options.has_colour)?,
            events: read_events(),
            notices,
            state: TopState::default(),
            frozen: None,
            choices: Choices::default(),
            replay: None,
            frame_due: Some(now),
            last_frame: now,
            next_tick: now + TICK_INTERVAL,
            deadline: options.timeout.and_then(|timeout| now.checked_add(timeout)),
            options,
        })
    }

    fn apply(&mut self, record: &Record<'_>) {
        self.state.apply(record);
        self.request_frame();
    }

    fn note_progress(&mut self, source: &Source) {
        self.state.subscribing(source.progress());
        self.request_frame();
    }

    fn set_replay(&mut self, replay: &Replay, now: Instant) {
        self.replay = Some((replay.time(now), replay.speed(), replay.is_over()));
    }

    /// Asks for a frame as soon as one may be drawn.
    fn request_frame(&mut self) {
        self.frame_due
            .get_or_insert(self.last_frame + FRAME_INTERVAL);
    }

    /// Waits for the next input. Cancel safe.
    async fn next_input(&mut self) -> Input {
        tokio::select! {
            biased;
            code = self.signals.next() => Input::Signal(code),
            job = self.job_control.next() => Input::Job(job),
            event = self.events.recv() => Input::Terminal(event),
            () = sleep_until(self.deadline) => Input::TimedOut,
            () = sleep_until(self.frame_due) => Input::FrameDue,
            () = sleep_until(Some(self.next_tick)) => Input::Tick,
            Some(notice) = self.notices.recv() => Input::Notice(notice),
        }
    }

    /// Handles an input. Returns the code to end with, if it ends the run.
    fn handle(
        &mut self,
        input: Input,
        replay: Option<&mut Replay>,
    ) -> anyhow::Result<Option<Code>> {
        match input {
            Input::Signal(code) => return Ok(Some(code)),
            Input::TimedOut => return Ok(Some(Code::Ok)),
            Input::Job(JobSignal::Stop) => {
                self.screen.stop_process()?;
                self.request_frame();
            }
            // The process may have been stopped by a signal that nobody can handle.
            Input::Job(JobSignal::Continue) => {
                self.screen.redraw()?;
                self.request_frame();
            }
            Input::Terminal(Some(Ok(Event::Key(key)))) => {
                let now = self.now().timestamp_millis();
                let shown = self.frozen.as_ref().map_or(&self.state, |(state, _)| state);
                let action = self.choices.press(key, shown, now);
                self.request_frame();
                if let Some(action) = action {
                    return self.act(action, replay);
                }
            }
            Input::Terminal(Some(Ok(_))) => self.request_frame(),
            Input::Terminal(Some(Err(error))) => {
                return Err(
                    anyhow::Error::from(error).context("cannot read keys from the terminal")
                );
            }
            Input::Terminal(None) => {
                return Err(
                    Failure::new(Code::Unexpected, "the terminal sends no keys any more").into(),
                );
            }
            Input::Notice(text) => {
                self.choices.message = Some(text);
                self.request_frame();
            }
            Input::Tick => {
                self.next_tick = Instant::now() + TICK_INTERVAL;
                self.request_frame();
            }
            Input::FrameDue => self.draw()?,
        }
        Ok(None)
    }

    fn act(&mut self, action: Action, replay: Option<&mut Replay>) -> anyhow::Result<Option<Code>> {
        match action {
            Action::Quit(code) => return Ok(Some(code)),
            Action::Suspend => JobControl::stop_job()?,
            Action::Redraw => self.screen.redraw()?,
            Action::Copy(text) => self.screen.copy(&text)?,
            Action::TogglePause => {
                self.choices.is_paused = !self.choices.is_paused;
                match replay {
                    Some(replay) => replay.toggle_pause(Instant::now()),
                    None if self.choices.is_paused => {
                        self.frozen = Some((self.state.clone(), Utc::now()));
                    }
                    None => self.frozen = None,
                }
            }
        }
        Ok(None)
    }

    fn now(&self) -> DateTime<Utc> {
        self.replay.map_or_else(Utc::now, |(time, ..)| time)
    }

    fn draw(&mut self) -> io::Result<()> {
        let now = self.now();
        let (shown, shown_at) = match &self.frozen {
            Some((state, at)) => (state, *at),
            None => (&self.state, now),
        };
        let context = Context {
            title: &self.options.title,
            now,
            table_now: shown_at,
            replay: self.replay.map(|(_, speed, is_over)| (speed, is_over)),
            has_colour: self.options.has_colour,
            is_utc: false,
        };
        let (choices, state) = (&mut self.choices, &self.state);
        choices.list.refresh(shown, shown_at.timestamp_millis());
        self.screen.draw(|buffer| {
            choices
                .list
                .set_height(view::table_height(buffer.area.height));
            view::draw(shown, state, choices, &context, buffer);
        })?;
        self.last_frame = Instant::now();
        self.frame_due = None;
        Ok(())
    }
}
