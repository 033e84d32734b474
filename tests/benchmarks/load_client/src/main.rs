//! Loads a line echo server over loopback and checks every answer; driven over its stdin and stdout.
//!
//! Each busy connection sends `--pipeline` numbered lines of `--size` bytes at once, waits for all the
//! answers, compares them byte for byte, and starts again. `--idle` further connections send one line
//! first and then stay silent. One thread, so that the load itself costs little beside the server.
//!
//! With `--http PATH` it sends requests instead, and every answer has to be 200 with the body `--body`, or
//! with `--slow-body`: then it was slow on purpose, and its latency is left out and counted as `slow`.
//!
//! Whoever drives it looks at the server while nothing is under way: after each of the lines `connected`,
//! `warm` (not without busy connections) and the JSON object with the figures, the client waits for a line
//! on stdin. Each phase ends only when all that was sent is answered, so no message is counted in part.

mod http;

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Answers, Exchange};
use mio::{Events, Interest, Poll, Token};

struct Options {
    address: SocketAddr,
    connections: usize,
    idle: usize,
    pipeline: usize,
    size: usize,
    http: Option<Exchange>,
    warmup: Duration,
    duration: Duration,
}

struct Client {
    stream: mio::net::TcpStream,
    batch: Vec<u8>,
    sent: usize,
    /// Of lines the bytes, of HTTP the answers.
    received: usize,
    answers: Answers,
    number: u64,
    begun: Instant,
}

impl Client {
    fn begin(&mut self, options: &Options) -> io::Result<()> {
        self.batch.clear();
        for _ in 0..options.pipeline {
            self.number += 1;
            match &options.http {
                Some(exchange) => self.batch.extend_from_slice(&exchange.request),
                None => writeln!(self.batch, "{:0width$}", self.number, width = options.size - 1)?,
            }
        }
        self.answers.is_slow = false;
        self.sent = 0;
        self.received = 0;
        self.begun = Instant::now();
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(rest) = self.batch.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; whether the whole batch has been answered.
    fn receive(&mut self, buffer: &mut [u8], options: &Options) -> Result<bool, Box<dyn Error>> {
        while !self.is_answered(options) {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(n) => self.take(buffer.get(..n).unwrap_or_default(), options)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.is_answered(options))
    }

    fn take(&mut self, data: &[u8], options: &Options) -> Result<(), String> {
        if let Some(exchange) = &options.http {
            self.received += self.answers.take(data, exchange)?;
            if self.received > options.pipeline {
                return Err("more answers than requests".to_owned());
            }
        } else {
            if self.batch.get(self.received..self.received + data.len()) != Some(data) {
                return Err(format!("a wrong answer near line {}", self.number));
            }
            self.received += data.len();
        }
        Ok(())
    }

    fn is_answered(&self, options: &Options) -> bool {
        self.received == if options.http.is_some() { options.pipeline } else { self.batch.len() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let idle =
        (0..options.idle).map(|number| idle_connection(&options, number)).collect::<Result<Vec<_>, _>>()?;
    let mut load = Load::connect(&options)?;
    say_and_wait("connected")?;
    if options.connections > 0 {
        load.run(&options, options.warmup)?;
        say_and_wait("warm")?;
        let figures = load.run(&options, options.duration)?;
        say_and_wait(&figures.to_json(&options))?;
    }
    drop((idle, load));
    Ok(())
}

/// Prints a line and waits for one; at the end of stdin too.
fn say_and_wait(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// The busy connections.
struct Load {
    poll: Poll,
    clients: Vec<Client>,
}

impl Load {
    fn connect(options: &Options) -> Result<Self, Box<dyn Error>> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for index in 0..options.connections {
            let stream = TcpStream::connect(options.address)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let number = (index as u64) << 32;
            let begun = Instant::now();
            let (batch, answers) = (Vec::new(), Answers::default());
            clients.push(Client { stream, batch, sent: 0, received: 0, answers, number, begun });
        }
        Ok(Self { poll, clients })
    }

    /// Begins batches for so long, and returns when the last of them is answered.
    fn run(&mut self, options: &Options, duration: Duration) -> Result<Figures, Box<dyn Error>> {
        let mut latencies: Vec<u32> = Vec::new();
        let mut slow = 0;
        let mut buffer = vec![0; 1 << 16];
        let mut events = Events::with_capacity(4096);
        let start = Instant::now();
        for client in &mut self.clients {
            client.begin(options)?;
        }
        let mut under_way = self.clients.len();
        let mut last_answer = Instant::now();
        while under_way > 0 {
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            if last_answer.elapsed() > Duration::from_secs(10) {
                return Err(format!("no answer for 10 seconds on {under_way} connections").into());
            }
            for event in &events {
                let Some(client) = self.clients.get_mut(event.token().0) else { continue };
                client.send()?;
                if client.is_answered(options) || !client.receive(&mut buffer, options)? {
                    continue;
                }
                last_answer = Instant::now();
                if client.answers.is_slow {
                    slow += 1;
                } else {
                    let micros = (last_answer - client.begun).as_micros();
                    latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                if last_answer - start < duration {
                    client.begin(options)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        latencies.sort_unstable();
        Ok(Figures { latencies, slow, seconds: (last_answer - start).as_secs_f64() })
    }
}

/// What one phase has shown.
struct Figures {
    /// Of each batch, in microseconds, sorted; but not of those that were slow on purpose.
    latencies: Vec<u32>,
    slow: usize,
    seconds: f64,
}

impl Figures {
    fn at(&self, part: f64) -> u32 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = (part * self.latencies.len().saturating_sub(1) as f64) as usize;
        self.latencies.get(index).copied().unwrap_or(0)
    }

    fn to_json(&self, options: &Options) -> String {
        let messages = (self.latencies.len() + self.slow) * options.pipeline;
        let slow = self.slow;
        let (seconds, p50, p99, highest) = (self.seconds, self.at(0.5), self.at(0.99), self.at(1.0));
        format!(
            "{{\"messages\": {messages}, \"seconds\": {seconds:.6}, \
             \"p50_us\": {p50}, \"p99_us\": {p99}, \"max_us\": {highest}, \"slow\": {slow}}}"
        )
    }
}

fn idle_connection(options: &Options, number: usize) -> Result<TcpStream, Box<dyn Error>> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(options.address), socket2::Type::STREAM, None)?;
    if let extra @ 1.. = u16::try_from(number / 20_000)? {
        // One pair of addresses has too few ports for very many. The first do without, as `bind` is slow at
        // finding a port where there are many already.
        let [low, high] = (extra + 1).to_be_bytes();
        let own: SocketAddr = ([127, 0, low, high], 0).into();
        socket.bind(&own.into())?;
    }
    socket.connect(&options.address.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    if let Some(exchange) = &options.http {
        stream.write_all(&exchange.request)?;
        let (mut answers, mut buffer) = (Answers::default(), vec![0; 4096]);
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Err("the server closed an idle connection".into());
            }
            if answers.take(buffer.get(..length).unwrap_or_default(), exchange)? == 1 {
                return Ok(stream);
            }
        }
    }
    let line = format!("{number:0width$}\n", width = options.size - 1);
    stream.write_all(line.as_bytes())?;
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer)?;
    if answer != line.as_bytes() {
        return Err("a wrong answer on an idle connection".into());
    }
    Ok(stream)
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut given: HashMap<String, String> = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        given.insert(name, value);
    }
    let mut take = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
    let (path, body, slow_body) = (take("--http", ""), take("--body", ""), take("--slow-body", ""));
    let options = Options {
        address: take("--address", "").parse().map_err(|_| "--address HOST:PORT is needed")?,
        connections: take("--connections", "32").parse()?,
        idle: take("--idle", "0").parse()?,
        pipeline: take("--pipeline", "1").parse()?,
        size: take("--size", "64").parse()?,
        http: (!path.is_empty()).then(|| Exchange::new(&path, &body, &slow_body)),
        warmup: Duration::from_secs_f64(take("--warmup", "0.5").parse()?),
        duration: Duration::from_secs_f64(take("--seconds", "3").parse()?),
    };
    if options.size < 22 || options.pipeline == 0 {
        return Err("--size is at least 22, --pipeline at least 1".into());
    }
    match given.keys().next() {
        Some(unknown) => Err(format!("unknown option {unknown}").into()),
        None => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A server of one connection, which sends back what `change` makes of each byte; it counts the bytes.
    fn server(change: fn(usize, u8) -> u8) -> (Options, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            address: listener.local_addr().unwrap(),
            connections: 1,
            idle: 0,
            pipeline: 4,
            size: 64,
            http: None,
            warmup: Duration::ZERO,
            duration: Duration::from_millis(20),
        };
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 100];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                let before = counted.fetch_add(length, Ordering::SeqCst);
                for (index, byte) in buffer.iter_mut().take(length).enumerate() {
                    *byte = change(before + index, *byte);
                }
                stream.write_all(buffer.get(..length).unwrap()).unwrap();
            }
        });
        (options, count)
    }

    #[test]
    fn every_message_of_a_phase_is_answered_and_counted_in_it() {
        let (options, echoed) = server(|_, byte| byte);
        let mut load = Load::connect(&options).unwrap();
        for _ in 0..2 {
            let before = echoed.load(Ordering::SeqCst);
            let figures = load.run(&options, options.duration).unwrap();
            let bytes = echoed.load(Ordering::SeqCst) - before;
            assert_eq!(figures.latencies.len() * options.pipeline * options.size, bytes);
        }
    }

    #[test]
    fn requests_are_answered_and_slow_ones_counted_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            address: listener.local_addr().unwrap(),
            connections: 1,
            idle: 0,
            pipeline: 1,
            size: 64,
            http: Some(Exchange::new("/x", "hello", "nap")),
            warmup: Duration::ZERO,
            duration: Duration::from_millis(20),
        };
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 100];
            let mut number = 0_u32;
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                assert!(buffer.get(..length).unwrap().starts_with(b"GET /x HTTP/1.1\r\n"));
                let body = if number.is_multiple_of(4) { "nap" } else { "hello" };
                number += 1;
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        let figures = Load::connect(&options).unwrap().run(&options, options.duration).unwrap();
        let all = figures.latencies.len() + figures.slow;
        assert!(all > 0);
        assert_eq!(figures.slow, all.div_ceil(4));
    }

    #[test]
    fn one_changed_byte_is_a_wrong_answer() {
        let (options, _) = server(|index, byte| if index == 1000 { byte ^ 1 } else { byte });
        let mut load = Load::connect(&options).unwrap();
        let error = load.run(&options, Duration::from_secs(60)).err().unwrap();
        assert!(error.to_string().contains("wrong answer"), "{error}");
    }

    #[test]
    fn a_wrong_answer_on_an_idle_connection_is_seen() {
        let (options, _) = server(|_, byte| byte.max(b'1'));
        assert!(idle_connection(&options, 0).is_err());
    }
}
