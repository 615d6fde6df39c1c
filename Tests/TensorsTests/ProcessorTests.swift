import Tensors
import Testing

extension TensorsTests {
    @Suite struct ProcessorTests {
        @Test func `a level that nobody has is refused with the names of all`() throws {
            let error = try #require(throws: TensorError.self) {
                try Processor.check(["APUS_CPU": "avx3"])
            }
            for level in Processor.allCases { #expect("\(error)".contains(level.rawValue)) }
            #expect("\(error)".contains("avx3"))
        }

        @Test func `a level not in use, and a CPU without vectors, are worth a note`() throws {
            #expect(try Processor.check(["APUS_CPU": "avx2"], inUse: .avx2) == nil)
            #expect(try Processor.check([:], inUse: .avx2) == nil)
            let higher = try Processor.check(["APUS_CPU": "avx512"], inUse: .avx2)
            #expect(try #require(higher).contains("avx2 is used"))
            let slow = try Processor.check([:], inUse: .portable)
            #expect(try #require(slow).contains("10 times"))
            #expect(try Processor.check(["APUS_CPU": "portable"], inUse: .portable) == nil)
        }
    }
}
