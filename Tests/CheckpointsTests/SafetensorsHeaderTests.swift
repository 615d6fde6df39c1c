import Encoding
import Foundation
import Testing

@testable import Checkpoints

@Suite struct SafetensorsHeaderTests {
    /// Parses a header as if `data` bytes followed it.
    private func parse(_ json: String, data: Int) throws -> SafetensorsHeader {
        let bytes = Array(json.utf8)
        return try SafetensorsHeader(json: bytes, fileBytes: 8 + bytes.count + data, file: "a.st")
    }

    /// The one line that a refused header prints.
    private func refusal(_ json: String, data: Int) -> String {
        do {
            _ = try parse(json, data: data)
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func `tensors come in the order of their bytes`() throws {
        let header = try parse(
            #"{"__metadata__":{"format":"pt"},"#
                + #""b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},"#
                + #""a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#, data: 12)
        #expect(header.tensors.map(\.name) == ["a", "b"])
        #expect(header.tensors[0].shape == [1, 2])
        #expect(header.tensors[0].bytes.count == 8)
        #expect(header.tensors[1].type == .bfloat16)
    }

    @Test func `an empty tensor takes no bytes`() throws {
        let header = try parse(
            #"{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"#, data: 0)
        #expect(header.tensors[0].bytes.isEmpty)
    }

    @Test(arguments: [
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "outside the file's 4"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "the file has"),
        (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "is 12 bytes"),
        (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "no size that fits"),
        (
            #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0,
            "no size that fits"
        ),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 8, "4..0 are outside"),
        (#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#, 4, "dtype Q4 is unknown"),
        (#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4, "dtype is missing"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4, "data_offsets are missing"),
        (#"{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}"#, 4, "an integer"),
        (
            #"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#, 4,
            "more than 8"
        ),
        (#"{"a":{},"a":{}}"#, 0, "dtype is missing"),
        (#"{"a""#, 0, "not JSON"),
        ("", 0, "not JSON"),
    ])
    func `a lying header is refused in one line`(json: String, data: Int, fact: String) {
        let line = refusal(json, data: data)
        #expect(line.contains(fact), "\(line)")
        #expect(line.hasPrefix("a.st: ") && !line.contains("\n"))
    }

    @Test func `a deep nest is refused without growing the stack`() {
        let nest = #"{"__metadata__":"# + String(repeating: "[", count: 1_000_000)
        #expect(refusal(nest, data: 0).contains("at most 64 levels"))
    }

    @Test func `overlapping tensors and gaps are refused`() {
        let first = #"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"#
        let overlap = first + #""b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}"#
        #expect(refusal(overlap, data: 12).contains("overlaps"))
        let gap = first + #""b":{"dtype":"U8","shape":[8],"data_offsets":[9,17]}}"#
        #expect(refusal(gap, data: 17).contains("leaves a gap"))
    }

    @Test func `a name that occurs twice is refused`() {
        let one = #""a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
        #expect(refusal("{\(one),\(one)}", data: 0).contains("a key other than a"))
    }

    @Test func `a header longer than the format or the file is refused before it is read`() {
        #expect(throws: CheckpointError.self) {
            try SafetensorsHeader.length(
                prefix: [UInt8](repeating: 0xFF, count: 8), fileBytes: 1 << 40, file: "a")
        }
        #expect(throws: CheckpointError.self) {
            try SafetensorsHeader.length(
                prefix: [9, 0, 0, 0, 0, 0, 0, 0], fileBytes: 16, file: "a")
        }
        #expect(throws: CheckpointError.self) {
            try SafetensorsHeader.length(prefix: [1, 2], fileBytes: 2, file: "a")
        }
    }

    @Test func `a hostile name stays one short line`() {
        let name = "x\\n\\u0007" + String(repeating: "y", count: 1000)
        let line = refusal(#"{"\#(name)":{}}"#, data: 0)
        #expect(line.count < 200 && !line.contains("\n") && !line.contains("\u{7}"))
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `cut and altered headers never crash`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let good = Array(
            (#"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
                + #""b":{"dtype":"F8_E4M3","shape":[5],"data_offsets":[24,29]}}"#).utf8)
        for _ in 0 ..< 20_000 {
            var bytes = good
            for _ in 0 ..< Int.random(in: 1 ... 4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0 ..< bytes.count, using: &random)
                switch Int.random(in: 0 ..< 3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0 ... 255, using: &random)
                case 1: bytes.removeSubrange(place...)
                default:
                    bytes.insert(
                        bytes[Int.random(in: 0 ..< bytes.count, using: &random)], at: place)
                }
            }
            let size = 8 + bytes.count + Int.random(in: 0 ... 40, using: &random)
            if let header = try? SafetensorsHeader(json: bytes, fileBytes: size, file: "f") {
                for tensor in header.tensors {
                    #expect(tensor.bytes.lowerBound >= 8 + bytes.count)
                    #expect(tensor.bytes.upperBound <= size)
                }
            }
        }
    }
}
