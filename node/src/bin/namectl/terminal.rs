//! The controlling terminal: asking on it, and leaving it as it was, whatever ends the program.
//!
//! Questions go to `/dev/tty` and answers come from there, so that results and errors can be redirected. While a secret
//! is typed, echo is off; signals that end or stop the program give the terminal back first.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
};

use zeroize::Zeroizing;

/// Longest line read: what a terminal hands over at once is shorter.
const MAX_LINE_BYTES: u64 = 8_192;

/// The terminal that this program was started from.
pub struct Terminal {
    tty: File,
}

impl Terminal {
    /// The terminal, if there is one.
    pub fn open() -> Option<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/tty").ok().map(|tty| Self { tty })
    }

    /// Asks for a line that everybody may see.
    pub fn ask(&mut self, prompt: &str) -> io::Result<String> {
        self.say(prompt)?;
        let line = self.line()?;
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Asks for a secret.
    pub fn ask_hidden(&mut self, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let _hidden = hidden::Hidden::begin(&self.tty, prompt)?;
        self.say(prompt)?;
        self.line()
    }

    fn say(&mut self, prompt: &str) -> io::Result<()> {
        self.tty.write_all(prompt.as_bytes())?;
        self.tty.flush()
    }

    /// A line without its end. It is read byte by byte, so that nothing secret stays in a buffer.
    fn line(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES as usize));
        BufReader::with_capacity(1, &self.tty).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        Ok(line)
    }
}

/// Echo off, and back on.
///
/// A signal handler may do very little: here it calls `tcsetattr`, `sigaction`, `raise` and `write`, which are among what
/// POSIX allows, and reads values that were written before it was installed.
#[allow(unsafe_code)] // The standard library knows neither terminals nor signals.
mod hidden {
    use std::{
        fs::File,
        io,
        mem::{MaybeUninit, zeroed},
        os::fd::{AsRawFd as _, RawFd},
        ptr::null_mut,
        sync::atomic::{AtomicPtr, Ordering},
    };

    /// What ends the program, or stops it for a while, at the user's or the system's wish.
    const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP];

    /// The terminal while echo is off; null otherwise.
    static NOW: AtomicPtr<Modes> = AtomicPtr::new(null_mut());

    struct Modes {
        tty: RawFd,
        before: libc::termios,
        hidden: libc::termios,
        prompt: Box<[u8]>,
    }

    /// While this lives, what is typed is not shown.
    pub(super) struct Hidden {
        modes: &'static Modes,
        handlers: [libc::sigaction; SIGNALS.len()],
    }

    impl Hidden {
        pub(super) fn begin(tty: &File, prompt: &str) -> io::Result<Self> {
            let tty = tty.as_raw_fd();
            let mut before = MaybeUninit::uninit();
            // SAFETY: `before` has room for what the call writes.
            if unsafe { libc::tcgetattr(tty, before.as_mut_ptr()) } != 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call succeeded, so it has filled the whole structure.
            let before = unsafe { before.assume_init() };
            let mut hidden = before;
            hidden.c_lflag &= !(libc::ECHO | libc::ECHOE | libc::ECHOK);
            hidden.c_lflag |= libc::ECHONL | libc::ICANON | libc::ISIG;
            // A handler may look at it at any time, so it is never freed: some hundred bytes for each question.
            let modes: &'static Modes =
                Box::leak(Box::new(Modes { tty, before, hidden, prompt: prompt.as_bytes().into() }));
            NOW.store(std::ptr::from_ref(modes).cast_mut(), Ordering::SeqCst);
            let handlers = SIGNALS.map(|signal| handle(signal, on_signal as *const () as libc::sighandler_t));
            let this = Self { modes, handlers };
            // What was typed ahead was typed in the open, for something else.
            // SAFETY: the terminal is open, and the structure lives for ever.
            if unsafe { libc::tcsetattr(tty, libc::TCSAFLUSH, &raw const modes.hidden) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(this)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            // SAFETY: the terminal outlives this, and the structures were filled by the system.
            unsafe {
                libc::tcsetattr(self.modes.tty, libc::TCSANOW, &raw const self.modes.before);
                for (signal, handler) in SIGNALS.iter().zip(&self.handlers) {
                    libc::sigaction(*signal, handler, null_mut());
                }
            }
            NOW.store(null_mut(), Ordering::SeqCst);
        }
    }

    /// Installs a handler, unless the signal is ignored (`nohup`), and gives the one before.
    fn handle(signal: libc::c_int, handler: libc::sighandler_t) -> libc::sigaction {
        // SAFETY: all zero is a valid value of this plain structure, and both live across the calls.
        unsafe {
            let (mut before, mut wanted): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
            libc::sigaction(signal, null_mut(), &raw mut before);
            if before.sa_sigaction != libc::SIG_IGN {
                wanted.sa_sigaction = handler;
                // The handler raises the same signal again; and the read that it interrupted goes on.
                wanted.sa_flags = libc::SA_NODEFER | libc::SA_RESTART;
                libc::sigaction(signal, &raw const wanted, null_mut());
            }
            before
        }
    }

    /// Gives the terminal back, and then does what the signal does by default. After a stop, echo goes off and the question
    /// is put again.
    extern "C" fn on_signal(signal: libc::c_int) {
        // SAFETY: what the pointer leads to is never freed nor changed.
        let Some(modes) = (unsafe { NOW.load(Ordering::SeqCst).as_ref() }) else { return };
        // SAFETY: see the module: the calls are allowed here, and their arguments live for ever.
        unsafe {
            libc::tcsetattr(modes.tty, libc::TCSANOW, &raw const modes.before);
            handle(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        // Only a stop comes back.
        handle(signal, on_signal as *const () as libc::sighandler_t);
        // SAFETY: as above.
        unsafe {
            libc::tcsetattr(modes.tty, libc::TCSAFLUSH, &raw const modes.hidden);
            libc::write(modes.tty, modes.prompt.as_ptr().cast(), modes.prompt.len());
        }
    }
}
