import Tensors
import Testing

extension TensorsTests {
    @Suite struct ThreadPoolTests {
        @Test(arguments: [
            (8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 8, 1), (0, 1, 1),
            (8, 0, 8), (256, 1, 256), (384, 1, 256), (384, 2, 192), (1024, 2, 256),
        ])
        func `ranks share cores evenly, within what a pool may have`(
            cores: Int, ranks: Int, threads: Int
        ) {
            #expect(ThreadPool.threads(on: cores, ranks: ranks) == threads)
        }
    }
}
