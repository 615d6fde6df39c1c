import Topology

/// Feeds bytes to the control plane's decoders, and what they make of them to the membership.
///
/// Whatever the bytes: no trap, a frame that is taken survives being written and read, and the
/// membership keeps its invariants.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzControl(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    if let prelude = Prelude(bytes) { precondition(prelude.encoded() == bytes) }
    var job = Membership(
        configuration: Membership.Configuration(
            rankCount: 3, identity: identity, deadlines: [.join: .seconds(9)],
            silenceLimit: .seconds(5)), now: .zero)
    var phase = job.phase
    var ends = 0
    // A pair of 0xff bytes parts the input into frames, one per connection and tenth of a second.
    for (index, part) in parts(bytes).enumerated() {
        guard let frame = try? ControlFrame(decoding: part) else { continue }
        do {
            let again = try ControlFrame(decoding: frame.encoded())
            precondition(again == frame)
        } catch { preconditionFailure("\(error)") }
        let id = ConnectionID(rawValue: index % 4)
        guard let event = event(of: frame, id) else { continue }
        for case .end in job.apply(event, now: .milliseconds(100 * index)) { ends += 1 }
        precondition(job.phase >= phase && ends <= 1)
        phase = job.phase
        precondition(job.snapshot(now: .seconds(1)).members.count == 3)
    }
    return 0
}

private let identity = JobIdentity(build: "b", modelDigest: "m", configDigest: "c")

private func parts(_ bytes: [UInt8]) -> [[UInt8]] {
    var parts: [[UInt8]] = [[]]
    var index = 0
    while index < bytes.count {
        if index + 1 < bytes.count, bytes[index] == 0xff, bytes[index + 1] == 0xff {
            parts.append([])
            index += 2
        } else {
            parts[parts.count - 1].append(bytes[index])
            index += 1
        }
    }
    return parts
}

private func event(of frame: ControlFrame, _ id: ConnectionID) -> Membership.Event? {
    switch frame {
    case .hello(let hello): .arrived(id, hello)
    case .entered(let phase): .entered(id, phase)
    case .progress(let progress): .progressed(id, progress)
    case .heartbeat(let statistics): .beat(id, statistics)
    case .contribution(let label, let blob): .contributed(id, label: label, blob: blob)
    case .failed(let reason, let lost): .failed(id, reason: reason, lost: lost)
    case .stop: .stopped
    case .end: .closed(id, reason: "closed")
    case .welcome, .refusal, .gathered, .snapshot, .payload: .tick
    }
}
