import Testing
import Topology

@Suite struct RankTests {
    @Test func `a rank is named by its number`() {
        #expect("\(Rank(rawValue: 3))" == "rank 3")
    }
}
