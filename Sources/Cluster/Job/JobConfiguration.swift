/// A job: which model, on how many ranks, and how patient everybody is.
///
/// What a file in `cluster/` says, with every default filled in.
public struct JobConfiguration: Codable, Hashable, Sendable {
    /// What the job and its folder are called: letters, digits and dashes.
    public var name = "local"
    /// The model's folder.
    ///
    /// A relative path is taken from the job file's folder. Of a job that trains: its training
    /// file.
    public var model = ""
    /// Worker processes, 1 to 1024.
    ///
    /// Default 1.
    public var ranks = 1
    /// Compute threads of each rank.
    ///
    /// Default 1.
    public var threads = 1
    /// How bytes travel between ranks: auto, shm, tcp, ucx or rdma.
    ///
    /// Default auto.
    public var transport = "auto"
    /// Devices the transport may use, comma-separated; empty leaves it the choice.
    public var device = ""
    /// A file of `topology/`: the ranks run in a lab built from it, as many as it says; empty for
    /// none.
    ///
    /// A relative path is taken from the job file's folder.
    public var lab = ""
    /// Where the coordinator listens for workers.
    ///
    /// Default 127.0.0.1, any free port.
    public var control = Endpoint(address: "127.0.0.1", port: 0)
    /// Where the HTTP API listens.
    ///
    /// Default 127.0.0.1:8080; port 0 takes any free one.
    public var http = Endpoint(address: "127.0.0.1", port: 8080)
    /// How long each phase may take.
    public var deadlines = Deadlines()
    /// What a rank may hold.
    public var limits = Limits()
    /// Settings of the engine, by its own names; what is left out keeps the engine's default.
    public var engine: [String: Setting] = [:]
    /// Settings of the HTTP API, by its own names.
    public var api: [String: Setting] = [:]
    /// Settings of a training run, by its own names; a job with any trains and does not serve.
    public var training: [String: Setting] = [:]

    /// Whether the ranks train instead of serving.
    public var isTraining: Bool { !training.isEmpty }

    /// Every default.
    public init() {}

    /// An interface and a port on it.
    public struct Endpoint: Codable, Hashable, Sendable {
        /// A numeric address of this machine.
        public var address: String
        /// 0 to 65535; 0 takes any free one.
        public var port: Int

        /// An interface and a port on it.
        public init(address: String, port: Int) {
            self.address = address
            self.port = port
        }

        /// Reads `address:port`, or the path of a socket.
        ///
        /// - Throws: `ClusterError.badInput` with the text.
        public init(_ text: String) throws(ClusterError) {
            if ControlChannel.isPath(text) {
                guard ControlChannel.fits(text) else {
                    throw .badInput(
                        "\(text) has \(text.utf8.count) bytes: the path of a socket has at most"
                            + " \(ControlChannel.longestPath) (sockaddr_un)")
                }
                self.init(address: text, port: 0)
                return
            }
            let parts = text.split(separator: ":")
            guard parts.count == 2, let port = Int(parts[1]), (0 ... 65535).contains(port) else {
                throw .badInput("\(text) is not address:port, and no path of a socket")
            }
            self.init(address: String(parts[0]), port: port)
        }

        /// As `init` reads it.
        public var text: String { ControlChannel.isPath(address) ? address : "\(address):\(port)" }
    }

    /// Time limits, seconds.
    public struct Deadlines: Codable, Hashable, Sendable {
        /// For every rank to arrive.
        ///
        /// Default 60.
        public var joinSeconds = 60.0
        /// For ranks to meet on the data path.
        ///
        /// Default 60.
        public var connectSeconds = 60.0
        /// For reading the model.
        ///
        /// Default 1800.
        public var loadSeconds = 1800.0
        /// For the steps whose answers nobody sees.
        ///
        /// Default 120.
        public var warmUpSeconds = 120.0
        /// Silence after which a rank is lost.
        ///
        /// Default 5; ranks share cores, so not below 1.
        public var silenceSeconds = 5.0
        /// For one step of all ranks.
        ///
        /// Default 60.
        public var stepSeconds = 60.0
        /// For requests under way when the job is asked to end.
        ///
        /// Default 10.
        public var drainSeconds = 10.0
    }

    /// What a rank may hold.
    public struct Limits: Codable, Hashable, Sendable {
        /// Tokens whose latents are kept on each rank.
        ///
        /// Default 65536.
        public var cacheTokens = 65536
        /// Positions of one sequence; 0 takes the model's.
        ///
        /// Default 0.
        public var contextTokens = 0
    }

    /// A value of a setting that this room passes on without knowing it.
    public indirect enum Setting: Codable, Hashable, Sendable {
        case flag(Bool)
        case integer(Int)
        case number(Double)
        case text(String)
        case list([Setting])
        case mapping([String: Setting])
    }
}

extension JobConfiguration.Setting {
    /// Reads the narrowest kind that fits.
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let integer = try? value.decode(Int.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let list = try? value.decode([Self].self) {
            self = .list(list)
        } else if let mapping = try? value.decode([String: Self].self) {
            self = .mapping(mapping)
        } else {
            self = .text(try value.decode(String.self))
        }
    }

    /// Writes the value alone.
    public func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .flag(let flag): try value.encode(flag)
        case .integer(let integer): try value.encode(integer)
        case .number(let number): try value.encode(number)
        case .text(let text): try value.encode(text)
        case .list(let list): try value.encode(list)
        case .mapping(let mapping): try value.encode(mapping)
        }
    }
}

extension JobConfiguration {
    /// Checks every field against its limit.
    ///
    /// - Throws: `ClusterError.badInput` with the file, the field, the value and the limit.
    public func validate(path: String) throws(ClusterError) {
        func fail(_ reason: String) -> ClusterError { .badInput("\(path): \(reason)") }
        guard Self.isPlain(name), name.utf8.count <= 64 else {
            throw fail("name \"\(name)\" must be 1 to 64 letters, digits or dashes")
        }
        guard !model.isEmpty else { throw fail("model is missing") }
        guard (1 ... Self.mostRanks).contains(ranks) else {
            throw fail("ranks \(ranks) is not 1 to \(Self.mostRanks)")
        }
        guard (1 ... Self.mostThreads).contains(threads) else {
            throw fail("threads \(threads) is not 1 to \(Self.mostThreads)")
        }
        guard Self.transports.contains(transport) else {
            throw fail(
                "transport \"\(transport)\" is unknown:"
                    + " \(Self.transports.joined(separator: ", "))")
        }
        for (field, endpoint) in [("control", control), ("http", http)]
        where !(0 ... 65535).contains(endpoint.port) {
            throw fail("\(field).port \(endpoint.port) is not 0 to 65535")
        }
        for (field, seconds) in deadlines.all where !(seconds > 0 && seconds <= Self.longestWait) {
            throw fail("deadlines.\(field) \(seconds) is not above 0 and at most one day")
        }
        guard deadlines.silenceSeconds >= 1 else {
            throw fail(
                "deadlines.silenceSeconds \(deadlines.silenceSeconds) is below 1:"
                    + " heartbeats come twice a second")
        }
        guard (1 ... 1 << 32).contains(limits.cacheTokens) else {
            throw fail("limits.cacheTokens \(limits.cacheTokens) is not 1 to \(1 << 32)")
        }
        guard (0 ... 1 << 24).contains(limits.contextTokens) else {
            throw fail("limits.contextTokens \(limits.contextTokens) is not 0 to \(1 << 24)")
        }
    }

    static let transports = ["auto", "shm", "tcp", "ucx", "rdma"]
    /// What Transport's tables are sized for.
    static let mostRanks = 1024
    /// What a rank's pool of threads is sized for.
    static let mostThreads = 256
    /// A deadline beyond a day is a mistake of units.
    static let longestWait = 86400.0

    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("-")
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    }
}

extension JobConfiguration.Deadlines {
    var all: [(String, Double)] {
        [
            ("joinSeconds", joinSeconds), ("connectSeconds", connectSeconds),
            ("loadSeconds", loadSeconds), ("warmUpSeconds", warmUpSeconds),
            ("silenceSeconds", silenceSeconds), ("stepSeconds", stepSeconds),
            ("drainSeconds", drainSeconds),
        ]
    }

    /// The limits of the phases, as membership wants them.
    public var byPhase: [Phase: Duration] {
        [
            .join: .seconds(joinSeconds), .connect: .seconds(connectSeconds),
            .load: .seconds(loadSeconds), .warmUp: .seconds(warmUpSeconds),
        ]
    }
}
