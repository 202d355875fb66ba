/** What both projects share: TypeScript as ES modules, `./x.js` in an import meaning `./x.ts`. */
const shared = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': ['ts-jest', { useESM: true, tsconfig: '<rootDir>/tsconfig.jest.json', diagnostics: false }],
  },
  modulePathIgnorePatterns: [
    '<rootDir>/build/',
    '<rootDir>/ts-launcher/dist/',
    '<rootDir>/compat-tests/conformance/dist/',
  ],
};

/** The projects: fast tests of the launcher; the compatibility tests, which are to run one after the other (`--runInBand`). */
export default {
  watchman: false,
  // A hang is a failure; a slow machine is none.
  testTimeout: 60_000,
  projects: [
    { ...shared, displayName: 'ts-launcher', testMatch: ['<rootDir>/ts-launcher/test/**/*.test.ts'] },
    { ...shared, displayName: 'compat-tests', testMatch: ['<rootDir>/compat-tests/**/*.test.ts'] },
  ],
};
