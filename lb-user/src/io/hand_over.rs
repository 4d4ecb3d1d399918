//! What an agent and the one that takes its place say to each other: a few words, and the sockets that listen.
//!
//! A pair of sockets is made by the agent that goes; the one that comes inherits one of the two, and finds its number in its environment. A
//! process between the two starts it and ends at once, so that it is nobody's child but the service manager's, which hears of its end. Owns
//! the words and how descriptors travel with them. In which order what is given up and taken the agents decide.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, sendmsg,
    socketpair,
};
use nix::unistd::Pid;
use socket2::SockRef;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where the one that comes finds its end.
const VARIABLE: &str = "LBCTL_HAND_OVER";

/// Before the number: it is for a process that is to come.
const FOR_ANOTHER: &str = "start ";
/// Before a process's number.
const STARTED: &str = "started ";
/// How long the process between may take to start the other one.
const STARTED_WITHIN: Duration = Duration::from_secs(10);
/// And one that was killed to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Whether this process is one that an agent started to take its place.
pub fn is_awaited() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// If this is the process between two agents: starts the one that comes, as this one was started, and says which it is. Then there is nothing
/// more to do here.
///
/// # Errors
/// It could not be started; nobody needs to be told, as the end of this process is seen.
pub fn start_for_another() -> io::Result<bool> {
    let Ok(told) = std::env::var(VARIABLE) else { return Ok(false) };
    let Some(number) = told.strip_prefix(FOR_ANOTHER) else { return Ok(false) };
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let other = Command::new(program).args(words).env(VARIABLE, number).process_group(0).spawn()?;
    HandOver::of_number(number)?.send(&format!("{STARTED}{}", other.id()), &[])?;
    Ok(true)
}
/// Of a word, or an address.
const WORD_BYTES_MAX: usize = 64;
/// Descriptors that travel with one address: as many as the kernel takes.
const SOCKETS_MAX: usize = 253;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// From the one that comes: its configuration can be used.
    Checked,
    /// From the one that goes: those were the sockets, and nothing is changed here any more.
    Frozen,
    /// From the one that comes: all is ready but what only one of the two can have.
    Ready,
    /// From the one that goes: that is free.
    Gone,
}

impl Word {
    const ALL: [Self; 4] = [Self::Checked, Self::Frozen, Self::Ready, Self::Gone];

    const fn text(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Frozen => "frozen",
            Self::Ready => "ready",
            Self::Gone => "gone",
        }
    }
}

/// Sockets that listen, by where.
pub type Listeners = BTreeMap<SocketAddr, Vec<TcpListener>>;

/// One end.
#[derive(Debug)]
pub struct HandOver {
    socket: OwnedFd,
    /// What the one that comes has said before it was told which it is.
    early: Cell<Option<Word>>,
}

enum Message {
    Word(Word),
    Started(Pid),
    Listeners(SocketAddr, Vec<TcpListener>),
}

impl HandOver {
    /// Has a program started that inherits one end, in a process group of its own and as nobody's child here; the other end is given back.
    ///
    /// # Errors
    /// There is no such program, or no means to start it.
    pub fn start(mut program: Command) -> io::Result<(Self, Pid)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (own, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        fcntl(&other, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let told = format!("{FOR_ANOTHER}{}", other.as_raw_fd());
        let mut between = program.env(VARIABLE, told).process_group(0).spawn()?;
        drop(other);
        let own = Self::of(own);
        let started = own.wait(STARTED_WITHIN).and_then(|()| own.receive_started());
        if started.is_err() {
            // One that has ended already is as good.
            let _ = between.kill();
        }
        between.wait()?;
        Ok((own, started?))
    }

    fn of(socket: OwnedFd) -> Self {
        Self { socket, early: Cell::new(None) }
    }

    /// Which process was started. That one may be quicker to say its first word than the one that says so.
    fn receive_started(&self) -> io::Result<Pid> {
        loop {
            match self.receive()? {
                Message::Started(pid) => return Ok(pid),
                Message::Word(word) if self.early.replace(Some(word)).is_none() => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "something else was said first")),
            }
        }
    }

    /// Ends the process at the other end, if it is still there, and waits for that.
    pub fn end(&self, pid: Pid) {
        if self.is_other_gone() {
            return;
        }
        // It has its end open: the number is its own yet.
        let _ = kill(pid, Signal::SIGKILL);
        let since = Instant::now();
        while !self.is_other_gone() && since.elapsed() < GONE_WITHIN {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_other_gone(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        !matches!(recv(self.socket.as_raw_fd(), &mut [0], flags), Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR))
    }

    /// The end that this process inherited, if it is to take another one's place.
    ///
    /// # Errors
    /// What was inherited is of no use.
    pub fn inherited() -> io::Result<Option<Self>> {
        let Ok(number) = std::env::var(VARIABLE) else { return Ok(None) };
        Self::of_number(&number).map(Some)
    }

    fn of_number(number: &str) -> io::Result<Self> {
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE}={number} is no socket"));
        let descriptor: RawFd = number.parse().map_err(|_| wrong())?;
        // 0 to 2 are this process' own.
        if descriptor <= 2 {
            return Err(wrong());
        }
        // SAFETY: it is borrowed for this one question only, whose answer is whether it is open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|_| wrong())?;
        // SAFETY: it is open, see above; whoever started this process left it to us, and nothing else here knows its number.
        Ok(Self::of(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Says a word.
    ///
    /// # Errors
    /// Nobody is at the other end.
    pub fn say(&self, word: Word) -> io::Result<()> {
        self.send(word.text(), &[])
    }

    /// Waits for a word; what listens and comes before it is added to `listeners`.
    ///
    /// # Errors
    /// It does not come within that time, or the other end says something else, or is gone.
    pub fn expect(&self, word: Word, within: Duration, listeners: &mut Listeners) -> io::Result<()> {
        self.wait(within)?;
        loop {
            let message = match self.early.take() {
                Some(word) => Message::Word(word),
                None => self.receive()?,
            };
            match message {
                Message::Word(said) if said == word => return Ok(()),
                Message::Started(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "another process was started"));
                }
                Message::Word(said) => {
                    let wrong = format!("{:?} was said where {:?} was to come", said.text(), word.text());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
                }
                Message::Listeners(at, sockets) => drop(listeners.insert(at, sockets)),
            }
        }
    }

    /// Sends sockets; they stay open here, too.
    ///
    /// # Errors
    /// Nobody is at the other end.
    pub fn send_listeners(&self, listeners: &Listeners) -> io::Result<()> {
        for (at, sockets) in listeners {
            let descriptors: Vec<RawFd> = sockets.iter().take(SOCKETS_MAX).map(AsRawFd::as_raw_fd).collect();
            self.send(&at.to_string(), &descriptors)?;
        }
        Ok(())
    }

    /// What is received from now on comes within that time, or not at all.
    fn wait(&self, within: Duration) -> io::Result<()> {
        SockRef::from(&self.socket).set_read_timeout(Some(within))
    }

    fn send(&self, text: &str, descriptors: &[RawFd]) -> io::Result<()> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg::<()>(self.socket.as_raw_fd(), &text, control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Message> {
        let mut text = [0; WORD_BYTES_MAX];
        let mut control = cmsg_space!([RawFd; SOCKETS_MAX]);
        let (bytes, descriptors) = {
            let mut slices = [IoSliceMut::new(&mut text)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = loop {
                match recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                    // A signal is for others.
                    Err(Errno::EINTR) => {}
                    received => break received?,
                }
            };
            let mut descriptors = Vec::new();
            for part in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(received) = part {
                    descriptors.extend(received.into_iter().map(|descriptor| {
                        // SAFETY: the kernel has just opened it for this process, and nobody else here knows its number.
                        unsafe { OwnedFd::from_raw_fd(descriptor) }
                    }));
                }
            }
            (message.bytes, descriptors)
        };
        if bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process is gone"));
        }
        let text = std::str::from_utf8(text.get(..bytes).unwrap_or_default()).unwrap_or_default();
        if let Some(word) = Word::ALL.into_iter().find(|word| word.text() == text) {
            return Ok(Message::Word(word));
        }
        if let Some(pid) = text.strip_prefix(STARTED).and_then(|number| number.parse().ok()) {
            return Ok(Message::Started(Pid::from_raw(pid)));
        }
        let wrong = |_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is neither a word nor an address"))
        };
        let at: SocketAddr = text.parse().map_err(wrong)?;
        Ok(Message::Listeners(at, descriptors.into_iter().map(TcpListener::from).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    const SOON: Duration = Duration::from_millis(50);

    fn pair() -> (HandOver, HandOver) {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (one, other) = pair.expect("a pair");
        (HandOver::of(one), HandOver::of(other))
    }

    #[test]
    fn a_socket_that_is_handed_over_goes_on_listening_with_those_who_wait_at_it() {
        let (one, other) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let mut waiting = TcpStream::connect(at).expect("a connection");
        one.send_listeners(&BTreeMap::from([(at, vec![listener])])).expect("sent");
        one.say(Word::Frozen).expect("said");
        let mut listeners = Listeners::new();
        other.expect(Word::Frozen, SOON, &mut listeners).expect("heard");
        let (mut accepted, _) = listeners[&at][0].accept().expect("who waited");
        accepted.write_all(b"x").expect("sent");
        drop(accepted);
        let mut heard = String::new();
        waiting.read_to_string(&mut heard).expect("heard");
        assert_eq!(heard, "x");
    }

    #[test]
    fn a_first_word_may_come_before_it_is_told_who_says_it() {
        let (one, other) = pair();
        one.say(Word::Checked).expect("said");
        one.send(&format!("{STARTED}4711"), &[]).expect("sent");
        other.wait(SOON).expect("set");
        assert_eq!(other.receive_started().expect("told"), Pid::from_raw(4711));
        other.expect(Word::Checked, SOON, &mut Listeners::new()).expect("it was said");
    }

    #[test]
    fn what_does_not_come_or_is_something_else_is_an_error() {
        let (one, other) = pair();
        let mut none = Listeners::new();
        assert!(other.expect(Word::Checked, SOON, &mut none).is_err(), "nothing was said");
        one.say(Word::Gone).expect("said");
        let wrong = other.expect(Word::Checked, SOON, &mut none).expect_err("another word");
        assert!(wrong.to_string().contains("\"gone\" was said where \"checked\" was to come"), "{wrong}");
        one.send("anything", &[]).expect("sent");
        assert!(other.expect(Word::Checked, SOON, &mut none).is_err());
        drop(one);
        let gone = other.expect(Word::Checked, SOON, &mut none).expect_err("nobody is there");
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }
}
