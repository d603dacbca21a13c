/* SPDX-License-Identifier: Apache-2.0 */
/* C++: exceptions through the unwinder, containers, streams, threads. */
#include <algorithm>
#include <iostream>
#include <iomanip>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct guard {
	int &n;
	explicit guard(int &n) : n(n) {}
	~guard() { n++; }
};

static int unwound;

static int deep(int n)
{
	guard g(unwound);

	if (n == 0)
		throw std::runtime_error("bottom");
	return deep(n - 1) + 1;
}

int main()
{
	std::mt19937_64 rng(42);
	std::vector<double> v;
	std::map<std::string, int> words;
	std::unordered_map<unsigned long, unsigned> seen;
	std::string text;

	for (int i = 0; i < 50; i++) {
		try {
			deep(i);
		} catch (const std::exception &e) {
			words[e.what()]++;
		}
	}
	std::normal_distribution<double> normal(0, 1);
	for (int i = 0; i < 3000; i++) {
		v.push_back(normal(rng));
		seen[rng() % 500]++;
		text += std::to_string(rng() % 1000) + (i % 7 ? " " : ", ");
	}
	std::sort(v.begin(), v.end());
	std::cout << unwound << ' ' << words["bottom"] << ' ' << std::setprecision(17)
		  << v.front() << ' ' << v[1500] << ' ' << v.back() << ' '
		  << seen.size() << ' ' << seen[77] << '\n';
	std::cout << std::count(text.begin(), text.end(), '7') << ' '
		  << text.rfind("123") << '\n';
	std::thread t([&] {
		try {
			v.at(100000);
		} catch (const std::out_of_range &) {
			std::cout << "out of range\n";
		}
	});
	t.join();
	std::cout << std::hexfloat << v[3] << ' ' << std::fixed
		  << std::setprecision(30) << 1.0L / 3 << '\n';
	return 0;
}
