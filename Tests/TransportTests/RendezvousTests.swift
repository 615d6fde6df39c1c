import Glibc
import Synchronization
import Testing
import Topology

@testable import Transport

@Suite struct RendezvousTests {
    private let soon = Deadline(.seconds(10), "join")

    static func threads(
        _ count: Int, _ body: @escaping @Sendable (Int) throws -> Void
    ) throws {
        let errors = Mutex<[any Error]>([])
        var threads: [FabricThread] = []
        for index in 0 ..< count {
            threads.append(
                try FabricThread("rank") {
                    do { try body(index) } catch { errors.withLock { $0.append(error) } }
                })
        }
        for thread in threads { thread.join() }
        if let error = errors.withLock({ $0.first }) { throw error }
    }

    @Test func `ranks gather each other's blobs over TCP`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 4, token: "secret")
        try Self.threads(4) { index in
            let exchange = try TCPExchange.connect(
                to: server.address, rank: Rank(rawValue: index), rankCount: 4,
                token: "secret", deadline: soon)
            for round in 0 ..< 20 {
                let blob = [UInt8](repeating: UInt8(index), count: 100 * round * index)
                let blobs = try exchange.allGather(blob, label: "\(round)", deadline: soon)
                #expect(
                    blobs.map(\.count) == (0 ..< 4).map { 100 * round * $0 })
            }
            exchange.close()
        }
        server.close()
    }

    @Test func `a fabric joins over TCP with rank 0 serving`() throws {
        let probe = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 1, token: "t")
        let address = probe.address
        probe.close()
        try Self.threads(3) { index in
            let exchange = try TCPExchange.join(
                rendezvous: address, rank: Rank(rawValue: index), rankCount: 3, token: "t",
                deadline: soon)
            let fabric = try makeFabric(
                FabricConfiguration(rank: Rank(rawValue: index), rankCount: 3),
                exchange: exchange)
            try fabric.barrier(deadline: soon)
            fabric.close()
        }
    }

    @Test func `another token is refused`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 2, token: "secret")
        #expect(
            throws: TransportError.refused("\(server.address): join refused: the token is another")
        ) {
            try TCPExchange.connect(
                to: server.address, rank: 1, rankCount: 2, token: "guess", deadline: soon)
        }
        server.close()
    }

    @Test func `a rank that disagrees on the rank count is refused`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 2, token: "secret")
        let error = #expect(throws: TransportError.self) {
            try TCPExchange.connect(
                to: server.address, rank: 1, rankCount: 3, token: "secret", deadline: soon)
        }
        #expect("\(error!)".contains("rank count 3, this rendezvous has 2"))
        server.close()
    }

    @Test func `a taken port is named`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 2, token: "secret")
        #expect(
            throws: TransportError.call(
                "bind to \(server.address)", status: "Address already in use")
        ) { try TCPRendezvous(address: server.address, rankCount: 2, token: "secret") }
        server.close()
    }

    @Test func `a rank that never joins is named by those that wait`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 3, token: "secret")
        try Self.threads(2) { index in
            let error = #expect(throws: TransportError.self) {
                let exchange = try TCPExchange.connect(
                    to: server.address, rank: Rank(rawValue: index), rankCount: 3,
                    token: "secret", deadline: soon)
                _ = try exchange.allGather(
                    [], label: "join", deadline: Deadline(.milliseconds(300), "join"))
            }
            #expect(error?.rank == 2)
        }
        server.close()
    }

    @Test func `a rank that leaves is named by those that wait`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 2, token: "secret")
        try Self.threads(2) { index in
            let exchange = try TCPExchange.connect(
                to: server.address, rank: Rank(rawValue: index), rankCount: 2,
                token: "secret", deadline: soon)
            if index == 1 { return exchange.close() }
            let error = #expect(throws: TransportError.self) {
                try exchange.allGather([], label: "join", deadline: soon)
            }
            #expect(error?.rank == 1)
        }
        server.close()
    }

    /// As a cut wire does: the connection stays, and nothing comes.
    @Test func `a rank that serves the barrierState and falls silent is named`() throws {
        let server = try StreamSocket.listen(on: try NetworkEndpoint("127.0.0.1:0"))
        let address = "127.0.0.1:\(try server.localPort())"
        try Self.threads(2) { index in
            if index == 0 {
                #expect(try server.wait(for: Int32(POLLIN), deadline: soon))
                let socket = try #require(server.accept())
                let greeting = RendezvousGreeting()
                try socket.sendAll(greeting.encoded(), deadline: soon)
                let token = try RendezvousToken("t")
                let request = try JoinRequest(
                    decoding: socket.receiveAll(JoinRequest.byteCount, deadline: soon),
                    expecting: token, greeting: greeting, rankCount: 2)
                let proof = request.welcomeProof(token, greeting)
                try socket.sendAll(
                    RendezvousFrame.welcome(proof: proof).encoded(), deadline: soon)
                var heard: [UInt8] = []
                while try socket.wait(for: Int32(POLLIN), deadline: soon),
                    case .bytes = socket.receive(into: &heard, limit: 1 << 16)
                {}
                return
            }
            let exchange = try TCPExchange.join(
                rendezvous: address, rank: 1, rankCount: 2, token: "t", deadline: soon)
            #expect(
                throws: TransportError.deadline(0, phase: "votes", limit: .milliseconds(100))
            ) {
                try exchange.allGather(
                    [], label: "votes", deadline: Deadline(.milliseconds(100), "votes"))
            }
            exchange.close()
        }
    }

    @Test func `intruders that send garbage neither join nor disturb`() throws {
        let server = try TCPRendezvous(address: "127.0.0.1:0", rankCount: 1, token: "secret")
        let endpoint = try NetworkEndpoint(server.address)
        var intruders: [StreamSocket] = []
        for seed in 0 ..< 40 {
            let socket = try StreamSocket.connect(to: endpoint, deadline: soon)
            _ = socket.send([UInt8](repeating: UInt8(seed), count: seed * 50)[...])
            intruders.append(socket)
        }
        let exchange = try TCPExchange.connect(
            to: server.address, rank: 0, rankCount: 1, token: "secret", deadline: soon)
        #expect(try exchange.allGather([7], label: "x", deadline: soon) == [[7]])
        exchange.close()
        server.close()
    }

    @Test func `ranks meet through files`() throws {
        let directory = temporaryDirectory()
        try Self.threads(3) { index in
            let exchange = try FileExchange(
                directory: directory, rank: Rank(rawValue: index), rankCount: 3,
                token: "secret")
            for round in 0 ..< 5 {
                let blobs = try exchange.allGather(
                    [UInt8(index)], label: "\(round)", deadline: soon)
                #expect(blobs == [[0], [1], [2]])
            }
        }
        removeDirectory(directory)
    }

    @Test func `a directory of another run is refused`() throws {
        let directory = temporaryDirectory()
        let first = try FileExchange(directory: directory, rank: 0, rankCount: 1, token: "a")
        for round in 0 ..< 3 {
            _ = try first.allGather([1], label: "\(round)", deadline: soon)
        }
        let file = "\(directory)/begun.0"
        #expect(
            throws: TransportError.refused(
                "\(file) is there already: give every run its own directory")
        ) { try FileExchange(directory: directory, rank: 0, rankCount: 1, token: "a") }
        removeDirectory(directory)
    }

    @Test func `a launcher's ranks may meet through files`() throws {
        let directory = temporaryDirectory()
        try Self.threads(2) { index in
            let environment = try #require(
                try LaunchEnvironment.detect(in: [
                    "SLURM_PROCID": "\(index)", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7",
                    "SLURM_STEP_ID": "3", "APUS_RENDEZVOUS": "file:\(directory)",
                ]))
            #expect(environment.rendezvous == "file:\(directory)/apus-7.3")
            let blobs = try environment.join(deadline: soon)
                .allGather([UInt8(index)], label: "names", deadline: soon)
            #expect(blobs == [[0], [1]])
        }
        removeDirectory(directory)
    }

    @Test func `a process of another protocol version is named`() throws {
        let rendezvous = InProcessRendezvous(rankCount: 2)
        try Self.threads(2) { index in
            let exchange = rendezvous.member(Rank(rawValue: index))
            if index == 1 {
                var hello = WireWriter()
                hello.append(UInt32(0x5355_5041))
                hello.append(UInt32(999))
                _ = try? exchange.allGather(hello.bytes, label: "join", deadline: soon)
                return
            }
            #expect(
                throws: TransportError.disagreement(
                    1, subject: "protocol version", theirs: "999",
                    ours: "\(RankHello.protocolVersion)")
            ) {
                try makeFabric(
                    FabricConfiguration(rank: 0, rankCount: 2, transport: .loopback),
                    exchange: exchange)
            }
        }
    }
}

@Suite struct LaunchEnvironmentTests {
    @Test func `torchrun's variables name the run`() throws {
        let environment = try LaunchEnvironment.detect(in: [
            "RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "node1", "MASTER_PORT": "29500",
            "APUS_TOKEN": "x",
        ])
        #expect(
            environment
                == LaunchEnvironment(
                    launcher: "torchrun", rank: 3, rankCount: 8, rendezvous: "node1:29500",
                    token: "x"))
    }

    @Test(arguments: [
        (["MASTER_ADDR": "fd77::1", "MASTER_PORT": "29500"], "[fd77::1]:29500"),
        (["MASTER_ADDR": "[fd77::1]", "MASTER_PORT": "29500"], "[fd77::1]:29500"),
        (["APUS_RENDEZVOUS": "[::1]:7"], "[::1]:7"), (["APUS_RENDEZVOUS": "node1:7"], "node1:7"),
    ])
    func `an IPv6 address stands in brackets before a port`(
        variables: [String: String], rendezvous: String
    ) throws {
        let all = variables.merging(["RANK": "0", "WORLD_SIZE": "2"]) { $1 }
        #expect(try LaunchEnvironment.detect(in: all)?.rendezvous == rendezvous)
    }

    @Test(arguments: ["::1", "[::1]"])
    func `an IPv6 address without a port gets the job's`(address: String) throws {
        let found = try LaunchEnvironment.detect(in: [
            "APUS_RENDEZVOUS": address, "RANK": "0", "WORLD_SIZE": "2",
        ])
        let text = try #require(found?.rendezvous)
        #expect(text.hasPrefix("[::1]:"))
        #expect(try NetworkEndpoint(text).family == AF_INET6)
    }

    @Test func `a bare IPv6 address with a port is refused with the way to write it`() {
        let error = #expect(throws: TransportError.self) { try NetworkEndpoint("::1:29500") }
        #expect("\(error!)".contains("stands in brackets, as [::1]:29500"))
    }

    @Test func `ranks gather over IPv6`() throws {
        let rendezvous = try TCPRendezvous(address: "[::1]:0", rankCount: 1, token: "t")
        defer { rendezvous.close() }
        #expect(rendezvous.address.hasPrefix("[::1]:"))
        #expect(rendezvous.loopbackHint == nil)
        let exchange = try TCPExchange.connect(
            to: rendezvous.address, rank: 0, rankCount: 1, token: "t",
            deadline: Deadline(.seconds(10), "test"))
        let deadline = Deadline(.seconds(10), "test")
        #expect(try exchange.allGather([7], label: "a", deadline: deadline) == [[7]])
        exchange.close()
    }

    @Test func `ranks of torchrun do not meet where its own store listens`() throws {
        let environment = try #require(
            try LaunchEnvironment.detect(in: [
                "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500",
                "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True",
            ]))
        #expect(environment.rendezvous.hasPrefix("node1:"))
        #expect(!environment.rendezvous.hasSuffix(":29500"))
    }

    @Test func `Open MPI on one node needs no address`() throws {
        let environment = try LaunchEnvironment.detect(in: [
            "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "1234",
        ])
        #expect(environment?.rendezvous.hasPrefix("127.0.0.1:") == true)
        #expect(environment?.token == "apus-1234")
    }

    @Test func `Open MPI across nodes asks for an address`() throws {
        #expect(throws: TransportError.self) {
            try LaunchEnvironment.detect(in: [
                "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
            ])
        }
    }

    @Test(arguments: [
        ("node[03-07,9],other", "node03"), ("alpha,beta", "alpha"), ("alpha,b[1-2]", "alpha"),
        ("n[7]", "n7"),
    ])
    func `Slurm's host list begins with rank 0's host`(list: String, first: String) {
        #expect(LaunchEnvironment.firstHost(of: list) == first)
    }

    @Test func `a job within one Slurm node needs no name`() throws {
        let environment = try LaunchEnvironment.detect(in: [
            "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7",
            "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "n1",
        ])
        #expect(environment?.rendezvous.hasPrefix("127.0.0.1:") == true)
    }

    @Test func `no launcher is not an error`() throws {
        #expect(try LaunchEnvironment.detect(in: ["PATH": "/bin"]) == nil)
    }

    @Test func `a rank that is not a number is named with its variable`() throws {
        #expect(
            throws: TransportError.unavailable("RANK=many is not a count (torchrun)")
        ) { try LaunchEnvironment.detect(in: ["RANK": "many", "WORLD_SIZE": "2"]) }
    }
}
