//! `lbctl tui`: what the agents of one or several nodes do, as it happens.
//!
//! Keys and news come in, `app::App` alone changes by them, and `draw` shows it. Owns the terminal while it runs.
//! Talks to agents through the API client only; changes nothing unless it was started with `--write`.

mod action;
mod app;
mod draw;
mod feed;
mod history;
mod keys;
mod look;
mod rows;
mod table;

use crate::api::client::{Client, ClientError};
use app::{App, Effect};
use feed::{News, Wanted};
use look::Look;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyEventKind};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How it was started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The agents' sockets, or their names among those that are found.
    pub nodes: Vec<String>,
    /// Where no nodes are named: the one agent's socket; without it, all that are found.
    pub socket: Option<PathBuf>,
    /// Whether keys may change things.
    pub may_write: bool,
}

/// Why it ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// There is nobody to look at.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It was started into a pipe or a file.
    #[error("`lbctl tui` needs a terminal for its input and output; `lbctl status` and others print")]
    NoTerminal,
    /// The terminal.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// What comes in.
enum Input {
    Terminal(TerminalEvent),
    News(News),
    /// Somebody ends it, or the terminal is gone.
    End,
}

type Inputs = mpsc::UnboundedSender<Input>;

/// Runs until the user leaves.
///
/// # Errors
/// No agent is found, or the terminal is gone.
pub async fn run(options: Options) -> Result<(), TuiError> {
    let clients = clients(&options)?;
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TuiError::NoTerminal);
    }
    let app = App::new(clients.iter().map(feed::label).collect(), options.may_write, Look::of_environment());
    // What comes in is taken in at once and whole, so nothing piles up.
    let (inputs, incoming) = mpsc::unbounded_channel();
    let wants = feed::spawn(&clients, &inputs, Input::News);
    end_by_signal(inputs.clone())?;
    let mut terminal = ratatui::try_init()?;
    read_terminal(inputs.clone());
    let ended = follow(&mut terminal, app, &clients, incoming, &inputs, &wants).await;
    ratatui::restore();
    Ok(ended?)
}

async fn follow(
    terminal: &mut DefaultTerminal,
    mut app: App,
    clients: &[Client],
    mut incoming: mpsc::UnboundedReceiver<Input>,
    inputs: &Inputs,
    wants: &watch::Sender<Option<Wanted>>,
) -> io::Result<()> {
    let mut is_news = true;
    loop {
        if is_news {
            terminal.draw(|frame| draw::draw(frame, &app))?;
        }
        let Some(mut input) = incoming.recv().await else { return Ok(()) };
        is_news = false;
        // What has come meanwhile is shown at once.
        loop {
            match take(&mut app, input, clients, inputs) {
                Some(is_new) => is_news |= is_new,
                None => return Ok(()),
            }
            match incoming.try_recv() {
                Ok(next) => input = next,
                Err(_) => break,
            }
        }
        let wanted = app.wanted();
        wants.send_if_modified(|now| std::mem::replace(now, wanted) != wanted);
    }
}

/// Whether it is to be drawn anew; `None` when it is over.
fn take(app: &mut App, input: Input, clients: &[Client], inputs: &Inputs) -> Option<bool> {
    match input {
        Input::News(news) => Some(app.hear(news)),
        Input::Terminal(TerminalEvent::Key(key)) if key.kind != KeyEventKind::Release => {
            match app.press(key) {
                Effect::None => Some(true),
                Effect::Leave => None,
                Effect::Act(nodes, action) => {
                    let clients = nodes.into_iter().filter_map(|node| Some((node, clients.get(node)?)));
                    for (node, client) in clients {
                        let (client, action, inputs) = (client.clone(), action.clone(), inputs.clone());
                        tokio::spawn(async move {
                            let outcome = action.carry_out(&client).await;
                            // A user who has left needs no answer.
                            let _ = inputs.send(Input::News(News::Done(node, outcome)));
                        });
                    }
                    Some(true)
                }
            }
        }
        // The terminal has another size.
        Input::Terminal(event) => Some(matches!(event, TerminalEvent::Resize(..))),
        Input::End => None,
    }
}

/// Reading blocks, so a thread of its own does it; it ends with the process.
fn read_terminal(inputs: Inputs) {
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if inputs.send(Input::Terminal(event)).is_err() {
                return;
            }
        }
        // Nobody is left to tell when the other side has gone, too.
        let _ = inputs.send(Input::End);
    });
}

/// Whoever ends it by a signal finds the terminal as it was before.
fn end_by_signal(inputs: Inputs) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::hangup()] {
        let (mut signal, inputs) = (signal(kind)?, inputs.clone());
        tokio::spawn(async move {
            if signal.recv().await.is_some() {
                let _ = inputs.send(Input::End);
            }
        });
    }
    Ok(())
}

fn clients(options: &Options) -> Result<Vec<Client>, ClientError> {
    match (&options.nodes[..], &options.socket) {
        ([], None) => Client::find_all(),
        ([], socket) => Ok(vec![Client::find(socket.clone())?]),
        (nodes, _) => Ok(nodes.iter().map(|node| Client::named(node)).collect()),
    }
}

#[cfg(test)]
mod tests;
