import NIOCore
import NIOEmbedded
import Testing
import Topology

@testable import Cluster

@Suite struct ControlFrameTests {
    static let frames: [ControlFrame] = [
        .hello(MembershipTests.hello(3)),
        .hello(Hello(rank: nil, identity: nil, pid: 1, node: "")),
        .welcome(Welcome(epoch: 2, rankCount: 8)),
        .refusal(reason: "no"),
        .entered(.warmUp),
        .progress(PhaseProgress(doneBytes: 5, totalBytes: 9, elapsed: .milliseconds(1500))),
        .heartbeat(nil),
        .heartbeat(RankStatistics()),
        .contribution(Gather(label: "a"), blob: [1, 2, 3]),
        .contribution(Gather(label: "", members: [3, 1023]), blob: []),
        .gathered(Gather(label: "addresses", members: [0, 2]), blobs: [[], [1], [2, 3]]),
        .finished,
        .end(.done),
        .payload([0, 255]),
        .failed(reason: "x", lost: 1),
        .counts(PlacementTests.counts([7, 0, 1, UInt32.max])),
        .prepare(JobEpoch(number: 3, living: [0, 1], placements: PlacementTests.swapped)),
        .abandon(epoch: 3),
        .askPlacement,
        .placement(PlacementTests.story().job.placementReport(now: .seconds(2))),
        .place(PlacementRequest(group: 0, epoch: 1, placements: PlacementTests.swapped)),
        .notPlaced(reason: "no"),
        .askTrace(seconds: 5), .traced(file: "/jobs/trace.json"), .notTraced(reason: "no"),
        .askDrain(2), .drained(2), .notDrained(reason: "no"),
        .drainedRanks(DrainedRanks(number: 3, ranks: [2])),
        .askReturn(2), .returned(2), .notReturned(reason: "no"),
        .notPrepared(epoch: 3, reason: "no memory", lacksMemory: true),
        .stop,
        .end(.lost(rank: 1, phase: .ready, epoch: 1, reason: "r")),
        .end(.stopped),
        .snapshot(MembershipTests.joined().snapshot(now: .seconds(2))),
    ]

    @Test(arguments: frames) func `every frame survives the wire`(frame: ControlFrame) throws {
        #expect(try ControlFrame(decoding: frame.encoded()) == frame)
    }

    @Test(arguments: frames) func `a truncated frame is an error or another frame, never a trap`(
        frame: ControlFrame
    ) throws {
        let bytes = try frame.encoded()
        for length in bytes.indices { _ = try? ControlFrame(decoding: Array(bytes[..<length])) }
    }

    @Test(
        arguments: [
            ([], "empty"),
            ([9, 1], "kind 9 is unknown: the highest is 4"),
            ([2, 0], "ends inside the length of its label"),
            ([2, 2, 0], "a label of 512 bytes"),
            ([2, 0, 5, 65], "a label of 5 bytes in a frame of 1 more"),
            ([2, 0, 1, 0x85], "a label of 1 bytes is not UTF-8"),
            ([2, 0, 0, 0], "ends inside its count of members"),
            ([2, 0, 0, 0, 1, 4, 1, 0, 0], "1025 members in a frame of 2 more bytes"),
            ([2, 0, 0, 0, 1, 0, 2, 0, 0], "2 members in a frame of 2 more bytes"),
            (
                [3, 0, 0, 0, 1, 0, 0, 255, 255, 255, 255],
                "4294967295 blobs in a frame of 0 more bytes"
            ),
            ([3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 1], "longer than its frame"),
            ([4, 0, 1, 0], "ends inside its count of experts"),
            ([4, 255, 255, 255, 255, 1], "65535 layers of 65535 experts in a frame of 1 more"),
            ([4, 0, 0, 0, 9], "the limits are 1 to 4096 and 65535"),
        ] as [([UInt8], String)])
    func `claims that the bytes do not hold are refused`(bytes: [UInt8], words: String) {
        let error = #expect(throws: FrameError.self) {
            try ControlFrame(decoding: bytes)
        }
        #expect("\(error!)".contains(words))
    }

    @Test(arguments: ["999999999999", "-1", "0"])
    func `a placement of more experts than there can be is refused`(count: String) {
        let json =
            #"{"place":{"_0":{"group":0,"epoch":1,"placements":[{"expertCount":"# + count
            + #","expertsByRank":[[0]]}]}}}"#
        #expect(throws: DecodingError.self) { try ControlFrame(decoding: [0] + Array(json.utf8)) }
    }

    @Test func `a frame beyond the limit is refused by its claim alone`() throws {
        let channel = EmbeddedChannel()
        let first = FrameSealTests.First()
        try channel.pipeline.syncOperations.addHandler(first)
        try ControlChannel.addFraming(
            to: channel.pipeline.syncOperations, FrameSealTests.seals(of: .caller), after: first)
        let limit = ControlProtocol.largestFrameBytes + FrameSeal.addedBytes
        let claim = UInt32(limit + 1)
        let error = #expect(throws: FrameError.self) {
            try channel.writeInbound(ByteBuffer(integer: claim))
        }
        #expect("\(error!)".contains("the limit is \(limit)"))
    }

    @Test func `a token is 64 hexadecimal digits`() throws {
        let token = ControlToken.random()
        #expect(try ControlToken(token.text) == token)
        #expect(throws: ClusterError.self) { try ControlToken("12") }
        #expect(throws: ClusterError.self) {
            try ControlToken(String(repeating: "g", count: 64))
        }
    }
}
