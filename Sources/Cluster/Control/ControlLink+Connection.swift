import Encoding
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Topology

extension ControlLink {
    /// Pause between two attempts: short beside the start of a process, long beside a refusal.
    static let retryPause = 0.2

    /// Tries to join until the join limit.
    func connect() throws(ClusterError) {
        let limit = ContinuousClock.now + configuration.joinLimit
        var lastError = "no attempt was made"
        while ContinuousClock.now < limit {
            do {
                try attempt(until: limit, configuration.hello)
                return startBeating()
            } catch .refused(let reason) {
                throw .refused("\(name) was refused: \(reason)")
            } catch {
                lastError = error.description
            }
            Thread.sleep(forTimeInterval: Self.retryPause)
        }
        throw .deadline(
            "\(name) could not join at \(configuration.endpoint.text) within"
                + " \(configuration.joinLimit.seconds.formatted(digits: 1)) s: \(lastError)")
    }

    private var name: String { configuration.hello.rank.map { "\($0)" } ?? "this observer" }

    /// One attempt to be let in.
    ///
    /// - Throws: `refused`, `ended` with what was heard instead of a welcome, or why there is no
    ///   connection.
    func attempt(
        until limit: ContinuousClock.Instant, _ hello: Hello
    ) throws(ClusterError) {
        let left = limit - .now
        let attempt = beginAttempt()
        let channel: any Channel
        do {
            let bootstrap = ClientBootstrap(group: group)
                .connectTimeout(TimeAmount(min(left, .seconds(5))))
                .channelOption(.writeBufferWaterMark, value: ControlChannel.waterMark)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(CallerHandler(link: self, attempt: attempt))
                        try pipeline.addHandler(LinkHandler(link: self, hello, attempt: attempt))
                    }
                }
            let endpoint = configuration.endpoint
            channel =
                endpoint.isPath
                ? try bootstrap.connect(unixDomainSocketPath: endpoint.address).wait()
                : try bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .connect(host: endpoint.address, port: endpoint.port).wait()
        } catch {
            let words = Endpoint.words(for: error)
            let isRefused = (error as? NIOConnectionError)?.isRefusal ?? false
            throw .command(words + (isRefused ? configuration.endpoint.refusalHint : ""))
        }
        do {
            try awaitAnswer(attempt, hello, within: left)
        } catch .deadline(let words) {
            guard giveUp(attempt) else { return }
            channel.close(promise: nil)
            guard isProved else { throw .deadline(words) }
            let bytes = (try? ControlFrame.hello(hello).encoded().count) ?? 0
            throw .deadline(
                "\(words): it took the proof of \(Handshake.proofBytes) bytes and gave no answer to"
                    + " the hello of \(bytes) bytes. Where only short packets pass, the MTU of a"
                    + " device is above what the network carries (ip link show)")
        } catch {
            channel.close(promise: nil)
            throw error
        }
    }

    /// Returns once an attempt is let in.
    ///
    /// A coordinator that takes ranks over answers one that starts anew when the others are back.
    private func awaitAnswer(
        _ attempt: Int, _ hello: Hello, within limit: Duration
    ) throws(ClusterError) {
        func answer() -> Result<Void, ClusterError>? {
            guard attempts == attempt else {
                return .failure(.ended(.coordinatorLost(reason: "it let us in and left")))
            }
            if isWelcome { return .success(()) }
            guard !isClosed else {
                return .failure(.ended(.coordinatorLost(reason: "this rank leaves")))
            }
            return attemptEnd.map { .failure(.ended($0)) }
        }
        let subject = "an answer of the coordinator"
        do {
            try wait(limit, subject, answer).get()
        } catch .deadline where isProved && hello.held == nil && configuration.waitLimit > .zero {
            try wait(configuration.waitLimit, subject, answer).get()
        }
    }

    /// The next attempt begins with nothing of the last one.
    private func beginAttempt() -> Int {
        condition.lock()
        defer { condition.unlock() }
        attempts += 1
        attemptEnd = nil
        isProved = false
        isWelcome = false
        return attempts
    }

    /// Nothing of an attempt counts any more.
    ///
    /// - Returns: False where it let us in, just in time.
    private func giveUp(_ attempt: Int) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard attempts == attempt else { return true }
        guard !isWelcome else { return false }
        attempts += 1
        return true
    }

    /// Both ends proved that they have the token: from now on what is said goes to this connection.
    ///
    /// - Returns: Whether anybody still waits for it.
    func adopt(_ channel: any Channel, _ attempt: Int) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard attempts == attempt else { return false }
        isProved = true
        self.channel = channel
        return true
    }

    /// Says that we live, and notices when the coordinator does not.
    private func startBeating() {
        let interval = TimeAmount(ControlProtocol.heartbeatInterval)
        lastBeat = .now
        group.next().scheduleRepeatedTask(initialDelay: interval, delay: interval) { task in
            guard self.end == nil else { return task.cancel() }
            // A worker that did not run itself may not have read what the coordinator sent.
            let gap = self.lastBeat.duration(to: .now)
            self.lastBeat = .now
            guard self.lossesSoFar != nil else { return }
            let pause = gap - ControlProtocol.heartbeatInterval * 2
            // What came meanwhile may have been read already.
            if pause > .zero { self.lastHeard = min(self.lastHeard + pause, .now) }
            self.write(.heartbeat(self.statistics()))
            let silence = ContinuousClock.now - self.lastHeard
            if silence > self.configuration.silenceLimit {
                let seconds = silence.seconds.formatted(digits: 1)
                self.ended(.coordinatorLost(reason: "silent for \(seconds) s"))
            }
        }
        let pause = TimeAmount(ControlProtocol.countInterval)
        group.next().scheduleRepeatedTask(initialDelay: pause, delay: pause) { task in
            guard self.end == nil else { return task.cancel() }
            guard self.lossesSoFar != nil else { return }
            if let counts = self.counts() { self.write(.counts(counts)) }
        }
    }

    func write(_ frame: ControlFrame) {
        condition.lock()
        // A new coordinator hears nothing before it has let this worker in.
        let channel = isWaiting ? nil : channel
        condition.unlock()
        channel?.writeAndFlush(frame, promise: nil)
    }

    /// Sleeps until `read` returns a value, the job ends, or `limit` passes.
    @discardableResult
    func wait<Value>(
        _ limit: Duration, _ subject: String, _ read: () -> Value?
    ) throws(ClusterError) -> Value {
        let date = Date(timeIntervalSinceNow: limit.seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let refusal { throw .refused(refusal) }
            if let value = read() { return value }
            if let ending { throw .ended(ending) }
            guard condition.wait(until: date) else {
                throw .deadline(
                    "\(subject) did not come within \(limit.seconds.formatted(digits: 1)) s")
            }
        }
    }

    // MARK: On the event loop

    /// - Parameter attempt: The connection that it came by; what another one says does not count.
    func received(_ frame: ControlFrame, attempt: Int) {
        condition.lock()
        let isPresent = attempts == attempt
        condition.unlock()
        guard isPresent else { return }
        lastHeard = .now
        switch frame {
        case .payload(let bytes):
            if let receive { receive(bytes) } else { early.append(bytes) }
        case .welcome(let welcome):
            letIn(welcome, attempt)
        case .refusal(let reason): change { $0.refusal = reason }
        case .snapshot(let snapshot):
            change {
                $0.lastSnapshot = snapshot
                // Observers are let in by what they came for.
                $0.isWelcome = true
            }
        case .gathered(let gather, let blobs): change { $0.gathered[gather] = blobs }
        case .epoch(let epoch):
            // Numbers rise. An older epoch is over, whoever says it.
            guard epoch.number >= lastEpoch?.number ?? 0 else { return }
            change {
                $0.lastEpoch = epoch
                $0.memory.heard(epoch.number)
                $0.gathered = $0.gathered.filter { $0.key.epoch == epoch.number }
            }
            whenEpoch?(epoch)
        case .prepare(let epoch):
            change { $0.memory.heard(epoch.number) }
            whenPrepare?(epoch)
        case .abandon(let epoch):
            change { $0.lastAbandoned = max($0.lastAbandoned, epoch) }
            whenAbandoned?(epoch)
        case .weights(let sources): change { $0.lastSources = sources }
        case .placement(let report): change { $0.lastPlacement = .success(report) }
        case .notPlaced(let reason): change { $0.lastPlacement = .failure(.badInput(reason)) }
        case .traced(let file): change { $0.lastTrace = .success(file) }
        case .notTraced(let reason): change { $0.lastTrace = .failure(.badInput(reason)) }
        case .drained: change { $0.lastDrain = .success(()) }
        case .notDrained(let reason): change { $0.lastDrain = .failure(.badInput(reason)) }
        case .returned: change { $0.lastReturn = .success(()) }
        case .notReturned(let reason): change { $0.lastReturn = .failure(.badInput(reason)) }
        case .drainedRanks(let away): change { $0.memory.drained = away }
        case .end(let end): ended(end, attempt: attempt)
        default: break
        }
    }

    /// - Parameter attempt: The connection that ended, if it was that; an old one does not count.
    func ended(_ end: JobEnd, attempt: Int? = nil) {
        condition.lock()
        guard ending == nil, attempt ?? attempts == attempts else { return condition.unlock() }
        guard isWelcome else {
            // What a coordinator says of it comes before the connection closes.
            attemptEnd = attemptEnd ?? end
            condition.broadcast()
            return condition.unlock()
        }
        let isSearched = isSearching
        if case .coordinatorLost(let reason) = end, beginsToWait(reason) {
            condition.broadcast()
            condition.unlock()
            return search(isSearched: isSearched)
        }
        condition.unlock()
        conclude(end)
    }

    /// Whatever waits on this link ends with the reason.
    func conclude(_ end: JobEnd) {
        condition.lock()
        let isFirst = ending == nil
        let body = isFirst ? whenEnded : nil
        if isFirst {
            ending = end
            whenEnded = nil
            // The end says more.
            unsaidLoss = nil
        }
        condition.broadcast()
        condition.unlock()
        body?(end)
    }

    func change(_ body: (ControlLink) -> Void) {
        condition.lock()
        body(self)
        condition.broadcast()
        condition.unlock()
    }
}

extension NIOConnectionError {
    /// Whether every address that answered refused the connection.
    fileprivate var isRefusal: Bool {
        !connectionErrors.isEmpty
            && connectionErrors.allSatisfy { ($0.error as? IOError)?.errnoCode == ECONNREFUSED }
    }
}
