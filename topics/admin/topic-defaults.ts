/** What a topic is to be like when it is created. */
export interface TopicPlan {
  readonly topic: string;
  readonly partitions: number;
  readonly configs: Readonly<Record<string, string>>;
  /** An existing topic with another cleanup policy is refused: it would lose what we rest on. */
  readonly strict?: boolean;
}

const WEEK_MS = String(7 * 24 * 60 * 60 * 1000);
const MEBIBYTE = 1024 * 1024;

/**
 * Kafka maps the two indexes of a segment at full size, 10 MB by default, and Linux with large folios
 * on ext4 clears all of that at the first entry: 30 ms and 20 MB of page cache per topic, 15 s for 500
 * topics that get their first rows together. A segment ends when an index is full, at 87 MB or later.
 */
const INDEX = { 'segment.index.bytes': String(256 * 1024) };

/**
 * Topic of a stream. With a key: a week of full history, then the newest row per key for ever, so
 * that a new destination is filled from Kafka. Deletes stay for a week behind compaction, or a
 * destination that was away would never hear of them. Without a key (one partition): a week.
 */
export function streamTopicPlan(topic: string, keyed: boolean, partitions: number): TopicPlan {
  if (!keyed) return weekPlan(topic);
  return {
    topic,
    partitions,
    configs: {
      'cleanup.policy': 'compact',
      'min.compaction.lag.ms': WEEK_MS,
      'delete.retention.ms': WEEK_MS,
      ...INDEX,
    },
  };
}

/** Topic of a stream that jobs read: its marks stand in one order with its rows, and compaction would
 * take the begin of a generation away. What a job brought is delivered by that job. */
export function readTopicPlan(topic: string): TopicPlan {
  return weekPlan(topic);
}

function weekPlan(topic: string): TopicPlan {
  const configs = { 'cleanup.policy': 'delete', 'retention.ms': WEEK_MS, ...INDEX };
  return { topic, partitions: 1, configs };
}

/** Small segments: compaction leaves the newest one alone, and every start reads what it left. */
export function positionsTopicPlan(topic: string): TopicPlan {
  return {
    topic,
    partitions: 4,
    strict: true,
    configs: {
      'cleanup.policy': 'compact',
      'segment.bytes': String(4 * MEBIBYTE),
      'segment.ms': String(60 * 60 * 1000),
      'min.cleanable.dirty.ratio': '0.1',
      'delete.retention.ms': WEEK_MS,
    },
  };
}

/** Every record has a key of its own, so compaction keeps all of them: the log assigns the ids. */
export function schemasTopicPlan(topic: string): TopicPlan {
  return { topic, partitions: 1, strict: true, configs: { 'cleanup.policy': 'compact' } };
}
