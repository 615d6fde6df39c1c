import DeepSeekV3
import Testing
