//! What the comparison asks of a stack. Times are nanoseconds of the simulated clock.

/// A stack at 10.0.0.1 (number 0) or 10.0.0.2 (number 1).
pub(crate) trait Host {
    /// Names a socket.
    type Socket: Copy;

    /// A host whose connections buffer up to `buffer` bytes each way. As number 1 it listens on port 80, and
    /// will be asked for so many `connections`.
    fn new(number: u8, buffer: usize, connections: usize) -> Self;

    /// Takes a frame.
    fn receive(&mut self, now: u64, frame: &[u8]);

    /// Does what is due now; adds what it sends to `out`.
    fn transmit(&mut self, now: u64, out: &mut Vec<Vec<u8>>);

    /// When it wants to be asked again.
    fn deadline(&mut self, now: u64) -> Option<u64>;

    /// Begins a connection to port 80 of the other host.
    fn connect(&mut self, now: u64) -> Self::Socket;

    /// Whether data can be written.
    fn is_writable(&mut self, socket: Self::Socket) -> bool;

    /// The next connection that has come.
    fn accept(&mut self) -> Option<Self::Socket>;

    /// Writes what fits; how much.
    fn send(&mut self, now: u64, socket: Self::Socket, data: &[u8]) -> usize;

    /// Reads what is there; how much.
    fn recv(&mut self, now: u64, socket: Self::Socket, data: &mut [u8]) -> usize;
}

/// Both hosts' Ethernet addresses.
pub(crate) const fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number + 1]
}
