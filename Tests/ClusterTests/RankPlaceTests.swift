import Foundation
import Testing

@testable import Cluster

/// What programs that start ranks say in the environment.
@Suite struct RankPlaceTests {
    static let slurm = [
        "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NODELIST": "node[07-09,12]",
        "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9",
    ]

    static let openMPI = ["OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"]

    @Test func `nobody who starts ranks says nothing`() throws {
        #expect(try RankPlace(environment: ["PATH": "/bin", "SLURM_PROCID": "0"]) == nil)
    }

    @Test func `Slurm's first node of the step is where rank 0 runs`() throws {
        let place = try #require(try RankPlace(environment: Self.slurm))
        #expect(place.rank == 5 && place.rankCount == 8 && place.source == "Slurm")
        #expect(place.hosts == ["node07", "10.0.0.9"] && place.port == nil)
    }

    @Test func `a step of one node needs no name`() throws {
        let variables = Self.slurm.merging(["SLURM_STEP_NUM_NODES": "1"]) { $1 }
        #expect(try RankPlace(environment: variables)?.hosts == ["127.0.0.1"])
    }

    @Test func `Open MPI on one node meets at the loopback`() throws {
        let variables = Self.openMPI.merging(["OMPI_COMM_WORLD_LOCAL_SIZE": "4"]) { $1 }
        let place = try #require(try RankPlace(environment: variables))
        #expect(place.rank == 1 && place.rankCount == 4 && place.hosts == ["127.0.0.1"])
        #expect(try RankPlace(environment: Self.openMPI)?.hosts == [])
    }

    @Test func `mpirun in a job of Slurm tells the rank, and Slurm the host`() throws {
        let place = try RankPlace(environment: Self.slurm.merging(Self.openMPI) { $1 })
        #expect(place?.rank == 1 && place?.hosts.first == "node07")
    }

    @Test func `PMI tells the rank, and MASTER_ADDR the host`() throws {
        let variables = [
            "PMI_RANK": "2", "PMI_SIZE": "3", "MASTER_ADDR": "fd77::1", "MASTER_PORT": "7100",
        ]
        let place = try #require(try RankPlace(environment: variables))
        #expect(place.rank == 2 && place.rankCount == 3)
        #expect(place.hosts == ["fd77::1"] && place.port == 7100)
    }

    @Test func `the agent of torchrun has MASTER_PORT, and the next port is ours`() throws {
        var variables = [
            "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500",
        ]
        #expect(try RankPlace(environment: variables)?.port == 29500)
        variables["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        #expect(try RankPlace(environment: variables)?.port == 29501)
    }

    @Test func `a LeaderWorkerSet names its leader`() throws {
        let place = try RankPlace(environment: [
            "LWS_WORKER_INDEX": "3", "LWS_GROUP_SIZE": "4", "LWS_LEADER_ADDRESS": "job-0.job.space",
        ])
        #expect(place?.rank == 3 && place?.rankCount == 4 && place?.hosts == ["job-0.job.space"])
    }

    @Test(arguments: [
        ("RANK", "4", "RANK \"4\" is not 0 to 3"), ("RANK", "-1", "RANK \"-1\" is not 0 to 3"),
        ("RANK", "one", "RANK \"one\" is not 0 to 3"),
        ("WORLD_SIZE", "0", "WORLD_SIZE \"0\" is not 1 to 1024"),
        ("MASTER_PORT", "70000", "MASTER_PORT \"70000\" is not 1 to 65534"),
    ])
    func `a bad value is named with its variable and limit`(
        name: String, value: String, words: String
    ) {
        var variables = [
            "RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "7000",
        ]
        variables[name] = value
        #expect(throws: ClusterError.badInput(words)) { try RankPlace(environment: variables) }
    }

    @Test func `a count that is not set is named`() {
        #expect(throws: ClusterError.badInput("PMI_SIZE is not set, but PMI_RANK is")) {
            try RankPlace(environment: ["PMI_RANK": "0"])
        }
    }

    // MARK: Where the coordinator is

    private static func job(_ keys: String = "") throws -> JobConfiguration {
        try JobConfiguration(yaml: "model: m\nranks: 4\n\(keys)", path: "a.yaml")
    }

    private static func place(
        _ rank: Int, _ variables: [String: String] = ["MASTER_ADDR": "127.0.0.1"]
    ) throws -> RankPlace {
        let own = ["RANK": "\(rank)", "WORLD_SIZE": "4"]
        return try #require(try RankPlace(environment: own.merging(variables) { $1 }))
    }

    @Test func `rank 0 listens where the others connect`() throws {
        let endpoint = Endpoint(address: "127.0.0.1", port: RankPlace.defaultPort)
        let first = try Self.place(0).control(of: Self.job())
        #expect(first == RankPlace.Control(reached: endpoint, listening: endpoint))
        #expect(
            try Self.place(1).control(of: Self.job()) == RankPlace.Control(reached: endpoint))
    }

    @Test func `the job's port comes before MASTER_PORT`() throws {
        let place = try Self.place(1, ["MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "7100"])
        #expect(try place.control(of: Self.job()).reached.port == 7100)
        #expect(try place.control(of: Self.job("control: {port: 7200}")).reached.port == 7200)
    }

    @Test func `a job whose control is on another machine starts no coordinator`() throws {
        // An address of the block for documentation (RFC 5737), which no machine has.
        let job = try Self.job("control: {address: 192.0.2.7, port: 7000}")
        let control = try Self.place(0).control(of: job)
        #expect(control.reached.text == "192.0.2.7:7000" && control.listening == nil)
    }

    @Test func `another number of ranks than the job's is an error with both`() throws {
        let job = try JobConfiguration(yaml: "model: m\nranks: 2", path: "a.yaml")
        let words = "RANK and WORLD_SIZE started 4 ranks: the job has 2 (ranks)"
        #expect(throws: ClusterError.badInput(words)) { try Self.place(0).control(of: job) }
    }

    @Test func `RANK or WORLD_SIZE alone is an error that names the other`() {
        #expect(throws: ClusterError.badInput("WORLD_SIZE is not set, but RANK is")) {
            try RankPlace(environment: ["RANK": "0"])
        }
        #expect(throws: ClusterError.badInput("RANK is not set, but WORLD_SIZE is")) {
            try RankPlace(environment: ["WORLD_SIZE": "2"])
        }
    }

    @Test func `a host of rank 0 that has no address is named`() throws {
        // Longer than a label may be, so that nobody is asked.
        let name = String(repeating: "h", count: 64)
        let variables = ["RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": name]
        let place = try #require(try RankPlace(environment: variables))
        #expect {
            try place.control(of: Self.job())
        } throws: {
            "\($0)".hasPrefix("rank 0 runs on \(name), by RANK and WORLD_SIZE, a name")
        }
    }

    @Test func `ranks that nobody tells the host get a remedy`() throws {
        let place = try #require(try RankPlace(environment: Self.openMPI))
        #expect {
            try place.control(of: Self.job())
        } throws: {
            "\($0)".contains("Open MPI does not say where rank 0 runs: set MASTER_ADDR")
        }
    }
}
