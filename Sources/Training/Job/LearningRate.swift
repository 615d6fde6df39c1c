import Foundation

/// Warm-up, constant, then a cosine down to a floor (DeepSeek-V3 report, §4.2).
struct LearningRate: Codable, Hashable, Sendable {
    /// The rate after warm-up.
    var peak: Double
    /// The rate at the end.
    var floor: Double
    /// Steps of the linear rise from 0.
    var warmUpSteps: Int
    /// Steps at the peak after warm-up.
    var constantSteps: Int
    /// The last step of the cosine.
    var totalSteps: Int

    /// States a schedule.
    init(
        peak: Double, floor: Double, warmUpSteps: Int, constantSteps: Int = 0, totalSteps: Int
    ) {
        self.peak = peak
        self.floor = floor
        self.warmUpSteps = warmUpSteps
        self.constantSteps = constantSteps
        self.totalSteps = totalSteps
    }

    /// The rate of a step, counted from 1.
    func rate(step: Int) -> Double {
        if step <= warmUpSteps { return peak * Double(step) / Double(max(warmUpSteps, 1)) }
        let begin = warmUpSteps + constantSteps
        if step <= begin { return peak }
        let progress = min(1, Double(step - begin) / Double(max(totalSteps - begin, 1)))
        return floor + (peak - floor) * (1 + cos(.pi * progress)) / 2
    }
}
